"""LightGlue with tiny random networks of the published classes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from shifted_print import FRAME, scene
from transformers import (
    LightGlueConfig,
    LightGlueForKeypointMatching,
    LightGlueImageProcessor,
    SuperPointConfig,
)

from siftvton.correspondence import find_correspondences, lightglue, matcher
from siftvton.correspondence.lightglue import LightGlue
from siftvton.correspondence.regions import Region, regions
from siftvton.errors import InputError, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    detector = SuperPointConfig(encoder_hidden_sizes=[8] * 4, decoder_hidden_size=8, descriptor_decoder_dim=16)
    config = LightGlueConfig(
        keypoint_detector_config=detector,
        descriptor_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        filter_threshold=0.0,
    )
    network = LightGlueForKeypointMatching(config)
    with torch.no_grad():
        for parameter in network.keypoint_detector.parameters():
            parameter.normal_(std=0.2)
        for layer in network.match_assignment_layers:  # equal descriptors match
            layer.final_projection.weight.copy_(4 * torch.eye(16))
            layer.matchability.bias.fill_(4)
    folder = tmp_path_factory.mktemp("lightglue")
    network.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def low_scores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightglue, "LEAST_SCORE", 0.0)


def test_the_points_of_a_picture_match_themselves(folder: Path) -> None:
    picture = scene()[0]
    (found,) = LightGlue(folder).match(picture, picture, regions(FRAME, FRAME))
    assert len(found) > 10
    assert (found.person.xy == found.garment.xy).all(axis=1).mean() > 0.9
    assert found.person.size is None
    assert found.person.angle is None


def test_matches_are_those_of_the_library_without_its_rounding(folder: Path) -> None:
    grey = [np.repeat(picture[:, :, :1], 3, axis=2) for picture in scene()]
    (found,) = LightGlue(folder).match(*grey, regions(FRAME, FRAME))
    processor = LightGlueImageProcessor(do_resize=False)
    network = LightGlueForKeypointMatching.from_pretrained(folder).eval()
    with torch.no_grad():
        out = network(**processor(grey, return_tensors="pt"))
    (expected,) = processor.post_process_keypoint_matching(out, [(FRAME, FRAME)])
    ours = np.concatenate([found.person.xy, found.garment.xy], axis=1)
    theirs = torch.cat([expected["keypoints0"], expected["keypoints1"]], dim=1).numpy()
    assert len(ours) == len(theirs) > 5
    in_order = [each[np.lexsort(each.round().T)] for each in (ours, theirs)]  # nearly equal scores may swap places
    np.testing.assert_allclose(*in_order, atol=1)


def test_each_region_has_the_matches_inside_it_and_no_point_is_in_the_padding(folder: Path) -> None:
    left = np.zeros(FRAME, bool)
    left[:, :72] = True
    areas = [Region("left", left, left), Region("none", left, np.zeros(FRAME, bool))]
    person, garment = (picture[:-3, :-5] for picture in scene())
    areas = [Region(area.name, area.person[:-3, :-5], area.garment[:-3, :-5]) for area in areas]
    inside, nothing = LightGlue(folder).match(person, garment, areas)
    assert len(inside) > 0
    assert (inside.person.xy[:, 0] < 72).all()
    assert (inside.garment.xy <= np.array(garment.shape[1::-1]) - 1).all()
    assert len(nothing) == 0


def test_correspondences_by_name(folder: Path) -> None:
    found = find_correspondences(*scene(), frame=FRAME, preset="paper", matcher=matcher("lightglue", folder))
    assert found.frame == FRAME


def test_weights_are_required_by_lightglue_alone(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"matcher=lightglue requires weights; give .* by matcher_weights"):
        matcher("lightglue")
    with pytest.raises(UsageError, match="matcher=sift has no weights; remove matcher_weights"):
        matcher("sift", folder)


# Files that cannot be used


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def edit(folder: Path, **entries: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model_type": "superglue"}, "has model types 'superglue' and 'superpoint'; LightGlue with SuperPoint"),
        ({"keypoint_detector_config": {"model_type": "disk"}}, "has model types 'lightglue' and 'disk'"),
        ({"keypoint_detector_config": None}, "has model types 'lightglue' and None"),
        ({"auto_map": {"AutoModel": "code.Model"}}, r"names a program \(auto_map\)"),
        ({"descriptor_dim": 15}, "LightGlue cannot be loaded"),
    ],
)
def test_another_configuration_is_refused(copy: Path, entries: dict[str, object], message: str) -> None:
    edit(copy, **entries)
    with pytest.raises(InputError, match=message):
        LightGlue(copy)


def test_damaged_weights_are_refused(copy: Path) -> None:
    path = copy / "model.safetensors"
    tensors = load_file(path)
    name = min(tensors)
    save_file(tensors | {name: torch.full_like(tensors[name], torch.nan)}, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"{name} holds values that are NaN or infinite; copy it again"):
        LightGlue(copy)
    save_file({other: value for other, value in tensors.items() if other != name}, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"has no tensor {name}; copy it again"):
        LightGlue(copy)
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="LightGlue cannot be loaded"):
        LightGlue(copy)
    path.unlink()
    with pytest.raises(InputError, match="no such file; copy it there"):
        LightGlue(copy)
