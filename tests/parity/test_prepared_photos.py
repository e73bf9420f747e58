"""Real photos and garments, prepared from files, agree with VITON-HD's own masks."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from siftvton.commands.prepare import Prepare, prepare
from siftvton.errors import InputError
from siftvton.files import read_grey, read_image
from siftvton.prepare.config import ModelsConfig
from siftvton.prepare.garment import prepare_garment

NO_MODELS = {"detector": None, "pose": None, "parsing": None, "densepose": None}


def overlap(mask: np.ndarray, expected: np.ndarray) -> float:
    return np.count_nonzero(mask & expected) / np.count_nonzero(mask | expected)


def test_masks_of_vitonhds_persons(golden: Callable[[str], Path], photos: Path, tmp_path: Path) -> None:
    expected = golden("agnostic_mask")
    prepare(Prepare(input=str(photos / "vitonhd_mini"), output=str(tmp_path), models=ModelsConfig(**NO_MODELS)))
    for path in expected.glob("*_mask.png"):
        mask = read_grey(tmp_path / "test" / "agnostic-mask" / path.name)
        assert overlap(mask > 0, read_grey(path) > 0) >= 0.995, path.name
    listed = (tmp_path / "test_pairs.txt").read_text().split()
    assert listed == (photos / "vitonhd_mini" / "test_pairs.txt").read_text().split()


def test_masks_of_persons_without_parsing(photos: Path, tmp_path: Path) -> None:
    for kind, ending in (("openpose_json", "_keypoints.json"), ("person-mask", "_person_mask.png")):
        shutil.copytree(photos / "pose", tmp_path / "in" / kind, ignore=lambda _, names, e=ending: kept_out(names, e))
    persons = [path.name.removesuffix("_keypoints.json") for path in (tmp_path / "in" / "openpose_json").iterdir()]
    (tmp_path / "in" / "image").mkdir()
    for name in persons:
        shutil.copy(photos / f"{name}.jpg", tmp_path / "in" / "image")
    text = prepare(Prepare(input=str(tmp_path / "in"), output=str(tmp_path / "out"), models=ModelsConfig(**NO_MODELS)))
    assert f"{len(persons)} persons and 0 garments are prepared" in text
    assert "face and hands could not be taken out" in text
    for name in persons:
        mask = read_grey(tmp_path / "out" / "test" / "agnostic-mask" / f"{name}_mask.png") > 0
        assert 0.05 < mask.mean() < 0.4


def kept_out(names: list[str], ending: str) -> list[str]:
    return [name for name in names if not name.endswith(ending)]


def test_masks_of_vitonhds_garments(photos: Path) -> None:
    for path in (photos / "vitonhd_mini" / "test" / "cloth").iterdir():
        picture = read_image(path)
        prepared = prepare_garment(picture)
        assert overlap(prepared.mask > 0, read_grey(path.parents[1] / "cloth-mask" / path.name) > 127) > 0.97, path.name
        np.testing.assert_array_equal(prepared.picture, picture)
        assert prepared.remarks == ()


def test_flat_garments_are_accepted_and_worn_ones_are_refused(photos: Path) -> None:
    for path in photos.glob("*garment*.jpg"):
        assert prepare_garment(read_image(path)).mask.any()
    for path in (*photos.glob("*person*.jpg"), *(photos / "vitonhd_mini" / "test" / "image").iterdir()):
        with pytest.raises(InputError, match=r"no plain background|dark or coloured background"):
            prepare_garment(read_image(path))
