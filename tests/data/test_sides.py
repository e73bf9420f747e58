"""Side pictures that contradict each other are found by the same checks wherever an item is read."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from siftvton.commands.check_data import CheckData, CheckedData, check_data
from siftvton.commands.preprocess_sift import PreprocessSift, preprocess_sift
from siftvton.correspondence.regions import PART_COLOURS, densepose_labels
from siftvton.data.config import SiftData
from siftvton.data.dataset import TryOnDataset
from siftvton.data.layouts.base import Split
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.pairs import Pair
from siftvton.data.sides import garment_faults, person_faults, read_densepose
from siftvton.errors import InputError
from siftvton.files import read_grey, read_image, write_image
from siftvton.toy.world.write import write_world

PAIR = Pair("a_00.jpg", "a_00.jpg")
MASK, AGNOSTIC, DENSEPOSE = "agnostic-mask/a_00_mask.png", "agnostic-v3.2/a_00.jpg", "image-densepose/a_00.png"
GARMENT = "cloth/a_00.jpg"


def change(root: Path, name: str, edit: Callable[[np.ndarray], np.ndarray]) -> None:
    path = root / "train" / name
    read = read_grey if "mask" in name else read_image
    write_image(path, edit(read(path)))


def take(root: Path, source: str, target: str) -> None:
    """Put the picture ``source`` in the place of ``target``."""
    write_image(root / "train" / target, read_image(root / "train" / source))


def as_red(mask: np.ndarray) -> np.ndarray:
    return np.stack([mask, np.zeros_like(mask), np.zeros_like(mask)], axis=2)


def label_map(root: Path) -> np.ndarray:
    return densepose_labels(read_image(root / "train" / DENSEPOSE))


def arms_in_viridis(labels: np.ndarray) -> np.ndarray:
    """Colours some 40 levels from the right ones: near enough that single pixels do not count as stray."""
    levels = np.where(labels > 2, labels * (255 / 24), 0).astype(np.uint8)
    picture = cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS)[:, :, ::-1]
    return np.where(levels[:, :, None] > 0, picture, np.uint8(0))


FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "levels 0 and 1": (
        lambda root: change(root, MASK, lambda mask: mask // 255),
        MASK,
        r"has no white region \(its highest level is 1 of 255\); white \(255\) means the region to paint; scale",
    ),
    "red": (lambda root: change(root, MASK, as_red), MASK, "of this mask is coloured"),
    "no white": (
        lambda root: change(root, MASK, np.zeros_like),
        MASK,
        r"has no white region \(its highest level is 0 of 255\); white means the region to paint; make the mask again",
    ),
    "the agnostic picture as mask": (
        lambda root: write_image(root / "train" / MASK, cv2.cvtColor(read_image(root / "train" / AGNOSTIC), 7)),
        MASK,
        r"is a copy of the agnostic-v3\.2 picture; save a black and white mask",
    ),
    "inverted": (
        lambda root: change(root, MASK, lambda mask: 255 - mask),
        MASK,
        r"has the wrong polarity \(0% of its white and 100% of its black region are grey in agnostic-v3\.2\)",
    ),
    "the photo as agnostic picture": (
        lambda root: take(root, "image/a_00.jpg", AGNOSTIC),
        MASK,
        r"does not fit its agnostic picture .*; where the mask is white, agnostic-v3\.2 must be mid-grey \(128\)",
    ),
    "a mirrored mask": (
        lambda root: change(root, MASK, lambda mask: np.ascontiguousarray(mask[:, ::-1])),
        MASK,
        r"does not match the painted region of its agnostic picture \(\d+% of its white region is not painted, \d+% of",
    ),
    "another person's mask": (
        lambda root: change(root, MASK, lambda mask: np.roll(mask, mask.shape[1] // 6, axis=1)),
        MASK,
        "does not match the painted region of its agnostic picture .*; it seems to be another person's mask",
    ),
    "black instead of grey": (
        lambda root: change(root, AGNOSTIC, lambda a: np.where((abs(a.astype(int) - 128) < 4), 0, a).astype(np.uint8)),
        MASK,
        "does not fit its agnostic picture",
    ),
    "another person's agnostic picture": (
        lambda root: change(
            root, AGNOSTIC, lambda a: np.where((abs(a.astype(int) - 128) < 4), 128, 255 - a).astype(np.uint8)
        ),
        AGNOSTIC,
        "does not show its photo where nothing is painted .*; it seems to show another person",
    ),
    "red and blue swapped": (
        lambda root: change(root, DENSEPOSE, lambda picture: picture[:, :, ::-1]),
        DENSEPOSE,
        "is not in DensePose's colours .*; red and blue seem to be swapped; save it with red as the first channel",
    ),
    "another colour map": (
        lambda root: write_image(root / "train" / DENSEPOSE, arms_in_viridis(label_map(root))),
        DENSEPOSE,
        r"is not in DensePose's colours .*; draw part i of 24 in OpenCV's PARULA",
    ),
    "labels in three channels": (
        lambda root: write_image(root / "train" / DENSEPOSE, np.repeat(label_map(root)[:, :, None], 3, axis=2)),
        DENSEPOSE,
        r"has label numbers in three channels .*; save DensePose's labels 0 to 24 in one channel",
    ),
    "a garment of a few pixels": (
        lambda root: write_image(root / "train" / GARMENT, np.full((4, 3, 3), 200, np.uint8)),
        GARMENT,
        r"is too small \(4 × 3 pixels, height × width\); download it again",
    ),
    "levels that are no labels": (
        lambda root: write_image(root / "train" / DENSEPOSE, label_map(root) * 10),
        DENSEPOSE,
        "has one channel with levels up to 160, but is not a label map",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_training_and_sampling_refuse_it(root: Path, name: str) -> None:
    spoil, file, said = FAULTS[name]
    dataset = TryOnDataset(VitonHD(root).split("train"), [PAIR], 96, 72)
    assert dataset[0].pair == PAIR
    spoil(root)
    with pytest.raises(InputError, match=f"train/{file}: .*{said}") as error:
        dataset[0]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", FAULTS)
def test_preprocessing_lists_it(root: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, file, _ = FAULTS[name]
    spoil(root)
    data = SiftData(root=str(root), split="train", matches_frame=[96, 72])
    with pytest.raises(InputError, match="1 of 3 pairs failed"):
        preprocess_sift(PreprocessSift(data=data, output=str(tmp_path / "matches"), workers=1, preview=0))
    assert f"- {root / 'train' / file}: " in capsys.readouterr().out


@pytest.mark.parametrize("name", FAULTS)
def test_the_data_check_lists_it(root: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, file, _ = FAULTS[name]
    spoil(root)
    data = CheckedData(root=str(root), split="train", height=96, width=72, matches_frame=[96, 72], validation_pairs=0)
    with pytest.raises(InputError, match="not ready"):
        check_data(CheckData(data, preview=0, output=str(tmp_path / "out")))
    kind = file.partition("/")[0]
    assert f"| train (train, 3 pairs) | no | {kind}: 1 of 3 wrong |" in capsys.readouterr().out


def test_a_worn_mask_of_other_proportions_stops_the_training_that_reads_it(root: Path) -> None:
    change(root, "gt_cloth_warped_mask/a_00.png", lambda mask: np.ascontiguousarray(mask.T))
    dataset = TryOnDataset(VitonHD(root).split("train"), [PAIR], 96, 72, worn_mask=True)
    with pytest.raises(InputError, match=r"gt_cloth_warped_mask/a_00\.png: has different proportions from its photo"):
        dataset[0]


def test_an_inverted_worn_mask_stops_the_training_that_reads_it(root: Path) -> None:
    change(root, "gt_cloth_warped_mask/a_00.png", lambda mask: 255 - mask)
    folder = VitonHD(root).split("train")
    assert TryOnDataset(folder, [PAIR], 96, 72)[0].worn_mask is None
    with pytest.raises(InputError, match=r"gt_cloth_warped_mask/a_00\.png: has the wrong polarity"):
        TryOnDataset(folder, [PAIR], 96, 72, worn_mask=True)[0]


# DensePose as labels


def grey(labels: np.ndarray) -> Image.Image:
    return Image.fromarray(labels)


def in_greys(labels: np.ndarray) -> Image.Image:
    picture = Image.fromarray(labels, "P")
    picture.putpalette([level for label in range(256) for level in (label, label, label)])
    return picture


def in_other_colours(labels: np.ndarray) -> Image.Image:
    picture = Image.fromarray(labels, "P")
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    return picture


def rendering_with_palette(labels: np.ndarray) -> Image.Image:
    """A rendering that a program saved with its own palette: the indices are not labels."""
    picture = Image.fromarray((24 - labels).astype(np.uint8), "P")
    picture.putpalette(PART_COLOURS[::-1].tobytes())
    return picture


@pytest.mark.parametrize("form", [grey, in_greys, in_other_colours, rendering_with_palette])
def test_label_maps_give_what_their_rendering_gives(root: Path, form: Callable[[np.ndarray], Image.Image]) -> None:
    dataset = TryOnDataset(VitonHD(root).split("train"), [PAIR], 96, 72)
    expected = dataset[0].densepose
    labels = label_map(root)
    form(labels).save(root / "train" / DENSEPOSE)
    np.testing.assert_array_equal(densepose_labels(read_densepose(root / "train" / DENSEPOSE)), labels)
    np.testing.assert_array_equal(dataset[0].densepose, expected)


# Pictures without faults


def no_faults(split: Split, person: str, garment: str) -> list[str]:
    photo = read_image(split.require("image", person))
    sides = {
        "agnostic": (read_image, "agnostic-v3.2"),
        "agnostic_mask": (read_grey, "agnostic-mask"),
        "densepose": (read_densepose, "image-densepose"),
        "worn_mask": (read_grey, "gt_cloth_warped_mask"),
    }
    found = {name: (read, split.find(kind, person)) for name, (read, kind) in sides.items()}
    pictures = {name: read(path) for name, (read, path) in found.items() if path is not None}
    mask = split.find("cloth-mask", garment)
    faults = [
        *person_faults(photo, **pictures),
        *garment_faults(
            read_image(split.require("cloth", garment)), garment_mask=None if mask is None else read_grey(mask)
        ),
    ]
    return [f"{fault.kind} {fault.title} {fault.detail}" for fault in faults if not fault.remark]


@pytest.mark.parametrize("change_mask", [cv2.dilate, cv2.erode])
def test_a_mask_that_is_only_wider_or_narrower_than_what_is_painted_passes(
    root: Path, change_mask: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> None:
    change(root, MASK, lambda mask: change_mask(mask, np.ones((5, 5), np.uint8)))
    assert no_faults(VitonHD(root).split("train"), PAIR.person, PAIR.garment) == []


@pytest.mark.parametrize("height", [128, 256])
def test_the_toy_world_passes(tmp_path: Path, height: int) -> None:
    write_world(tmp_path, train_pairs=6, test_pairs=2, height=height, width=height * 3 // 4, workers=1)
    folder = VitonHD(tmp_path).split("train")
    for index in range(6):
        assert no_faults(folder, f"{index:05d}_00.jpg", f"{index:05d}_00.jpg") == []


@pytest.mark.parametrize("sample", ["vitonhd_sample", "../photos/vitonhd_mini"])
def test_vitonhds_own_files_pass(sample: str) -> None:
    """JPEG noise, soft edges and small mismatches are not faults."""
    root = Path(os.environ.get("SIFTVTON_GOLDEN", "nowhere")) / sample
    if not root.is_dir():
        pytest.skip("set SIFTVTON_GOLDEN to a folder that has VITON-HD's own files")
    folder = VitonHD(root).split("test")
    persons, garments = (sorted(path.name for path in (folder.folder / kind).iterdir()) for kind in ("image", "cloth"))
    for number, garment in enumerate(garments):
        assert no_faults(folder, persons[number % len(persons)], garment) == []
