"""Kinds of masks in the toy world: what each looks like, and how the results with them are compared."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from siftvton.commands.evaluate_toy import EvaluateToy, evaluate_toy
from siftvton.commands.infer import Infer, infer
from siftvton.data.config import HeldOutData
from siftvton.data.dataset import TryOnDataset, as_picture
from siftvton.data.layouts.base import AGNOSTIC_MASK, PARSING, POSE, Split
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.pairs import Pair
from siftvton.errors import InputError, UsageError
from siftvton.files import read_grey, read_image, read_labels, write_image, write_json
from siftvton.prepare.joints import Joints, read_openpose
from siftvton.prepare.mask import agnostic_mask
from siftvton.sampling.config import ExecutionConfig
from siftvton.sampling.loading import save
from siftvton.toy import masks
from siftvton.toy.mask_sensitivity import MaskTrial, mask_report, mask_sheet, score_masks
from siftvton.toy.masks import KINDS, REFERENCE, MaskedDataset, mask_of
from siftvton.toy.measures import cases_of, ground_truth_of
from siftvton.toy.world.write import write_world

HEIGHT, WIDTH = 256, 192
SIZE = (64, 48)  # of the results
PERSON = "00000_00.jpg"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, train_pairs=1, test_pairs=2, height=HEIGHT, width=WIDTH, workers=1)
    return folder


@pytest.fixture
def split(world: Path) -> Split:
    return VitonHD(world).split("test")


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def test_every_kind_is_another_mask_of_the_photos_size(split: Split) -> None:
    drawn = [mask_of(kind, split, PERSON, seed=0) for kind in KINDS]
    for place, mask in enumerate(drawn):
        assert mask.shape == (HEIGHT, WIDTH)
        assert mask.dtype == bool
        assert all((mask ^ other).any() for other in drawn[:place])


def test_the_reference_is_the_worlds_own_mask_and_the_box_fits_around_it(split: Split) -> None:
    own = read_grey(split.require(AGNOSTIC_MASK, PERSON)) > 127
    np.testing.assert_array_equal(mask_of(REFERENCE, split, PERSON, seed=0), own)
    box = mask_of("box", split, PERSON, seed=0)
    assert box[own].all()
    np.testing.assert_array_equal(box, own.any(axis=1)[:, None] & own.any(axis=0))  # no row or column is left out


def test_drawn_masks_are_those_of_the_recipe_at_both_sizes(split: Split) -> None:
    (joints,) = read_openpose(split.require(POSE, PERSON))
    parsing = read_labels(split.require(PARSING, PERSON))
    drawn = mask_of("drawn", split, PERSON, seed=0)
    np.testing.assert_array_equal(drawn, agnostic_mask(joints, parsing, (HEIGHT, WIDTH)).mask > 0)
    half = mask_of("half_size", split, PERSON, seed=0)
    blocks = half.reshape(HEIGHT // 2, 2, WIDTH // 2, 2)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert 0.85 < overlap(half, drawn) < 1


def test_each_joint_is_moved_by_four_pixels_of_a_photo_1024_pixels_high(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[Joints] = []

    def recorded(joints: Joints, *rest):
        used.append(joints)
        return agnostic_mask(joints, *rest)

    monkeypatch.setattr(masks, "agnostic_mask", recorded)
    first, again, other = (mask_of("joints_moved", split, PERSON, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first ^ other).any()
    (joints,) = read_openpose(split.require(POSE, PERSON))
    steps = np.array([used[0][name] - joints[name] for name in joints.points])
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 4 * HEIGHT / 1024)
    assert len(np.unique(steps.round(6), axis=0)) == len(steps)


def test_the_grown_outline_is_everything_within_twenty_pixels_of_the_garment(split: Split) -> None:
    garment = read_labels(split.require(PARSING, PERSON)) == 5
    grown = mask_of("outline_grown", split, PERSON, seed=0)
    rows, columns = np.nonzero(garment)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for row, column in ((rows.min(), columns[rows.argmin()]), (rows[columns.argmin()], columns.min())):
        assert grown[np.hypot(y - row, x - column) <= 20 * HEIGHT / 1024].all()
    assert grown[: rows.min() - 5].sum() == grown[:, : max(0, columns.min() - 5)].sum() == 0


def test_items_with_another_mask_differ_in_mask_and_agnostic_picture_alone(split: Split) -> None:
    pairs = [Pair(PERSON, "00001_00.jpg")]
    plain = TryOnDataset(split, pairs, HEIGHT, WIDTH)[0]
    item = MaskedDataset(split, pairs, HEIGHT, WIDTH, kind="box", seed=0)[0]
    for name in ("image", "densepose", "garment"):
        np.testing.assert_array_equal(getattr(item, name), getattr(plain, name))
    box = mask_of("box", split, PERSON, seed=0)
    np.testing.assert_array_equal(item.keep_mask[0].numpy() == 0, box)
    agnostic, photo = as_picture(item.agnostic), as_picture(item.image)
    assert (agnostic[box] == 128).all()
    np.testing.assert_array_equal(agnostic[~box], photo[~box])
    own = MaskedDataset(split, pairs, HEIGHT, WIDTH, kind=REFERENCE, seed=0)[0]
    np.testing.assert_array_equal(own.keep_mask, plain.keep_mask)
    assert np.abs(as_picture(own.agnostic).astype(int) - as_picture(plain.agnostic)).mean() < 2  # of JPEG


@pytest.mark.parametrize("kind", [PARSING, POSE])
def test_a_world_of_an_earlier_version_says_what_to_run(world: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "test").symlink_to(tmp_path / "files")
    (tmp_path / "files").mkdir()
    for folder in (world / "test").iterdir():
        if folder.name != kind:
            (tmp_path / "files" / folder.name).symlink_to(folder)
    with pytest.raises(InputError, match=rf"{kind}/00000_00.*: no such file; run scripts/make_toy_data\.py again"):
        mask_of("drawn", VitonHD(tmp_path).split("test"), PERSON, seed=0)


def test_joints_without_a_mask_are_named_with_their_file(world: Path, tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    for folder in (world / "test").iterdir():
        if folder.name != POSE:
            (tmp_path / "test" / folder.name).symlink_to(folder)
    nose = [50, 50, 1] + [0] * 72
    write_json(tmp_path / "test" / POSE / "00000_00_keypoints.json", {"people": [{"pose_keypoints_2d": nose}]})
    with pytest.raises(InputError, match=r"00000_00_keypoints\.json: right shoulder, left shoulder, .* not found"):
        mask_of("drawn", VitonHD(tmp_path).split("test"), PERSON, seed=0)


def exact(split: Split, folder: Path) -> list[MaskTrial]:
    """The truth as the result of every kind, except that the box is white."""
    pairs = split.pairs("unpaired")
    for pair in pairs:
        write_image(folder / f"{pair.result_id}.png", np.zeros((*SIZE, 3), np.uint8))
    trials = []
    for case in cases_of(split, pairs, folder, SIZE, 1, 0):
        truth = ground_truth_of(case).truth
        cases = {kind: replace(case, result=folder / kind / case.result.name) for kind in KINDS}
        for kind, each in cases.items():
            write_image(each.result, np.full_like(truth, 255) if kind == "box" else truth)
        trials.append(MaskTrial(cases, seed=0))
    return trials


def test_exact_results_are_right_and_spoilt_ones_are_not(split: Split, tmp_path: Path) -> None:
    trials = exact(split, tmp_path)
    report = mask_report([score for trial in trials for score in score_masks(trial)])
    assert list(report) == list(KINDS)
    for kind, entries in report.items():
        if kind != "box":
            assert entries["picture_error"]["value"] == entries["print_error"]["value"] == 0
            assert entries["spoilt"]["value"] < 3  # the photo is a JPEG file
            assert entries["differences"]["picture_error"] == {"value": 0, "interval": [0, 0], "cases": 2}
        assert "unchanged" not in entries
    assert report["box"]["picture_error"]["value"] > 0.05
    assert report["box"]["spoilt"]["value"] > 20
    assert report["box"]["differences"]["picture_error"]["value"] == report["box"]["picture_error"]["value"]
    assert report[REFERENCE]["overlap"]["value"] == report["drawn"]["overlap_drawn"]["value"] == 1
    assert mask_sheet(trials[0]).shape[1] == (len(KINDS) + 2) * (192 + 8)


def configurations(world: Path, folder: Path) -> tuple[Infer, EvaluateToy]:
    data = HeldOutData(root=str(world), height=SIZE[0], width=SIZE[1])
    sampled = Infer(
        checkpoint=str(folder / "model"),
        data=data,
        steps=2,
        format="png",
        execution=ExecutionConfig(device="cpu"),
        output=str(folder / "given"),
    )
    compared = EvaluateToy(
        data=data, masks="all", predictions=sampled.output, limit=1, others=1, workers=1, output=str(folder / "out")
    )
    return sampled, compared


def test_all_masks_are_sampled_and_compared_and_what_exists_is_kept(world: Path, pipeline, tmp_path: Path) -> None:
    save(pipeline, tmp_path / "model")
    sampled, config = configurations(world, tmp_path)
    infer(sampled)
    output = tmp_path / "out"
    black = output / "box" / "00000_00_00001_00.png"
    write_image(black, np.zeros((*SIZE, 3), np.uint8))
    table = evaluate_toy(config)
    assert not read_image(black).any()
    assert (output / "masks.md").read_text() == table
    header = next(line for line in table.splitlines() if line.startswith("| measure"))
    assert header == "| measure | reference | drawn | half size | joints moved | outline grown | box |"
    assert (output / "masks_per_image.csv").read_text().count("\n") == len(KINDS) + 1
    report = json.loads((output / "masks.json").read_text())
    assert report[REFERENCE]["spoilt"]["value"] == 0
    assert report["box"]["spoilt"]["value"] > 0
    assert read_image(output / "masks.png").ndim == 3


def test_results_of_unknown_origin_other_data_or_other_weights_are_refused(
    world: Path, pipeline, tmp_path: Path
) -> None:
    save(pipeline, tmp_path / "model")
    sampled, config = configurations(world, tmp_path)
    infer(sampled)
    with pytest.raises(UsageError, match=r"predictions=.*given: holds results of .* \(data\.split_seed: 0 -> 1\)"):
        evaluate_toy(replace(config, data=replace(config.data, split_seed=1)))
    pipeline.unet.conv_out.bias.data += 1
    save(pipeline, tmp_path / "model")
    with pytest.raises(UsageError, match=r"predictions=.*given: .*other weights"):
        evaluate_toy(config)
    (tmp_path / "given" / "infer.yaml").unlink()
    with pytest.raises(InputError, match=r"infer\.yaml: no such file, so masks=all is not possible; run scripts/infer"):
        evaluate_toy(config)
    assert not (tmp_path / "out").exists()
