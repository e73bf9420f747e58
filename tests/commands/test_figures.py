"""The figures that show data, results and checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from examples import write_update

from siftvton.commands.compare_results import CompareResults, compare_results
from siftvton.commands.visualize_attention import VisualizeAttention, visualize_attention
from siftvton.commands.visualize_reference import VisualizeReference, visualize_reference
from siftvton.correspondence import Correspondences, write_matches
from siftvton.correspondence.regions import PART_COLOURS
from siftvton.data.config import HeldOutData, SiftData
from siftvton.data.layouts.base import DENSEPOSE
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair
from siftvton.data.torso import box_of, torso_of
from siftvton.errors import InputError, UsageError
from siftvton.evaluation import attention_maps
from siftvton.evaluation.attention_maps import reference_maps
from siftvton.files import read_image, write_image
from siftvton.sampling.loading import load, save
from siftvton.sampling.lora import merge_update
from siftvton.toy.world.write import write_world

TOY = Path(__file__).parents[2] / "checkpoints" / "toy"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_world(root, train_pairs=2, test_pairs=2, height=128, width=96, workers=1)
    return root


def held_out(world: Path) -> HeldOutData:
    return HeldOutData(root=str(world), height=128, width=96)


def attention(world: Path, output: Path, **changes: object) -> VisualizeAttention:
    checkpoints = {"first": str(TOY), "second": str(TOY)}
    return VisualizeAttention(
        **{"checkpoints": checkpoints, "data": held_out(world), "timesteps": [50], "output": str(output), **changes}
    )  # type: ignore[arg-type]


def test_attention_has_a_row_for_each_checkpoint_and_a_column_for_each_point(world: Path, tmp_path: Path):
    whole = read_image(visualize_attention(attention(world, tmp_path)))
    fewer = read_image(visualize_attention(attention(world, tmp_path, points=[40, 60], checkpoints={"one": str(TOY)})))
    assert whole.shape[0] == 2 * fewer.shape[0]
    assert whole.shape[1] == 2 * fewer.shape[1]  # photo and three maps; photo and one
    first, second = np.split(whole, 2)
    np.testing.assert_array_equal(first[30:], second[30:])  # the same weights, below the captions


def test_updates_and_another_autoencoder_change_each_checkpoint_of_the_figure(world: Path, tmp_path: Path):
    pipeline, update = load(TOY), tmp_path / "update"
    write_update(pipeline, update)
    merge_update(pipeline, update, 0.5)
    save(pipeline, tmp_path / "merged")
    with torch.no_grad():
        pipeline.vae.quant_conv.bias += 1
    pipeline.vae.save_pretrained(tmp_path / "vae")

    def figure(checkpoint: Path, **changes: object) -> np.ndarray:
        keys = {"points": [40, 60], "checkpoints": {"one": str(checkpoint)}, **changes}
        return read_image(visualize_attention(attention(world, tmp_path / "figures", **keys)))

    base, tuned = figure(TOY), figure(TOY, lora=str(update), lora_weight=0.5)
    assert not np.array_equal(tuned, base)
    np.testing.assert_array_equal(tuned, figure(tmp_path / "merged"))
    assert not np.array_equal(figure(TOY, autoencoder=str(tmp_path / "vae")), base)


def test_attention_that_is_not_finite_is_not_drawn(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(attention_maps, "mean_maps", lambda *_: np.full((1, 8, 6), np.nan))
    with pytest.raises(InputError, match=r"^checkpoints\.one=.*toy: the attention is NaN or infinite"):
        visualize_attention(attention(world, tmp_path, points=[40, 60], checkpoints={"one": str(TOY)}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoints": {}}, "checkpoints: none is given"),
        ({"points": [200, 10]}, "is not allowed; use .* inside the photo, which has 96×128 pixels"),
        ({"points": [20]}, r"points=\[20\] is not allowed"),
        ({"data": HeldOutData(height=100, width=96)}, "use multiples of 16 for both"),
        ({"person": "nobody"}, "person=nobody is not in the test list; use an id from it, e.g. 00000_00"),
    ],
)
def test_what_cannot_be_drawn_is_named(world: Path, tmp_path: Path, changes: dict, message: str):
    config = attention(world, tmp_path, **changes)
    config.data.root = str(world)
    with pytest.raises(UsageError, match=message):
        visualize_attention(config)
    assert not list(tmp_path.iterdir())


def test_results_are_side_by_side_with_the_torso_below(world: Path, tmp_path: Path):
    for name in ("00000_00_00001_00", "00001_00_00000_00"):
        write_image(tmp_path / "ours" / f"{name}.png", np.full((128, 96, 3), 7, np.uint8))
    config = CompareResults(data=held_out(world), predictions={"ours": str(tmp_path / "ours")}, output=str(tmp_path))
    sheet = read_image(compare_results(config))
    assert sheet.shape[0] == 4 * (22 + 256 + 8)  # two pairs, two rows each
    config.predictions = {}
    with pytest.raises(UsageError, match="predictions: none is given"):
        compare_results(config)


def test_specks_of_the_torsos_colour_do_not_count_as_torso(tmp_path: Path):
    labels = np.zeros((128, 96), np.uint8)
    labels[40:80, 30:60] = 2
    labels[100:103, 10:12] = 2
    (tmp_path / "test" / DENSEPOSE).mkdir(parents=True)
    write_image(tmp_path / "test" / DENSEPOSE / "a.png", PART_COLOURS[labels])
    torso = torso_of(VitonHD(str(tmp_path)).split("test"), Pair("a.png", "a.png"), (128, 96))
    np.testing.assert_array_equal(np.argwhere(torso)[[0, -1]], [[40, 30], [79, 59]])


def test_the_box_holds_the_torso_in_the_photos_proportions():
    torso = np.zeros((128, 96), bool)
    torso[100:120, 70:96] = True
    rows, columns = box_of(torso)
    inside = torso[rows, columns]
    assert inside.sum() == torso.sum()
    assert inside.shape[0] / inside.shape[1] == pytest.approx(128 / 96, rel=0.05)


def test_the_reference_of_a_cell_is_at_its_matches_on_the_garment():
    person = np.array([[20.0, 20.0], [21.0, 22.0], [40.0, 40.0]])
    garment = np.array([[60.0, 20.0], [10.0, 70.0], [90.0, 90.0]])
    points, maps = reference_maps(Correspondences(person, garment, (128, 96)), (8, 6))
    np.testing.assert_allclose(points.person, [[23.5, 23.5], [39.5, 39.5]])
    assert maps[0, 1, 3] == maps[0, 4, 0] == 0.5
    assert maps[1, 5, 5] == 1


def test_pairs_without_a_match_are_skipped(world: Path, tmp_path: Path):
    frame = (128, 96)
    write_matches(matches_path(tmp_path, "00000_00.jpg"), Correspondences.empty(frame))
    write_matches(matches_path(tmp_path, "00001_00.jpg"), Correspondences.empty(frame))
    data = SiftData(root=str(world), matches_frame=list(frame))
    config = VisualizeReference(data=data, matches=str(tmp_path), output=str(tmp_path / "figures"))
    with pytest.raises(InputError, match="no pair has a match"):
        visualize_reference(config)
    point = np.array([[30.0, 40.0]])
    write_matches(matches_path(tmp_path, "00001_00.jpg"), Correspondences(point, point, frame))
    assert Path(visualize_reference(config)).is_file()
