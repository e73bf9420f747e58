"""Inception's input: the pixels that all other metrics see, resized as clean-fid does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cleanfid.fid import get_files_features
from PIL import Image
from stand_ins import Inception, picture

from siftvton.errors import InputError
from siftvton.evaluation.features import InceptionFeatures
from siftvton.evaluation.metrics import frechet_distance
from siftvton.evaluation.pictures import PictureSet, measured
from siftvton.files import write_image

CPU = torch.device("cpu")
COUNT = 5


def features(paths: list[Path], workers: int = 0) -> np.ndarray:
    return InceptionFeatures(Inception(), 2, workers, CPU)(PictureSet("drawn", paths[0].parent, paths, (64, 48)))


@pytest.fixture
def upright(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "upright" / f"{number}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        write_image(path, picture("drawn", number))
    return paths


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("workers", [0, 2])
def test_features_equal_clean_fids_bit_for_bit(tmp_path: Path, suffix: str, workers: int) -> None:
    paths = [tmp_path / f"{number}{suffix}" for number in range(3)]
    for number, path in enumerate(paths):
        write_image(path, picture("drawn", number, height=320, width=240))
    expected = get_files_features(
        [str(path) for path in paths], Inception(), num_workers=0, batch_size=2, device=CPU, verbose=False
    )
    np.testing.assert_array_equal(features(paths, workers), expected)


@pytest.mark.parametrize(("orientation", "quarters"), [(3, 2), (6, 1), (8, 3)])
def test_a_photo_that_the_camera_marked_as_rotated_is_turned_upright(
    tmp_path: Path, upright: list[Path], orientation: int, quarters: int
) -> None:
    """clean-fid ignores the mark, and its FID of the same pictures is in the hundreds."""
    turned = [tmp_path / "turned" / path.name for path in upright]
    turned[0].parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number, path in enumerate(turned):
        Image.fromarray(np.rot90(picture("drawn", number), quarters)).save(path, exif=exif)
    ours, theirs = features(turned), features(upright)
    np.testing.assert_array_equal(ours, theirs)
    assert frechet_distance(ours, theirs) == pytest.approx(0, abs=1e-3)


def test_every_picture_that_cannot_be_read_is_listed(upright: list[Path]) -> None:
    for path in upright[1:3]:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="2 of 5 pictures cannot be read") as error:
        measured("photos", upright[0].parent, upright)
    assert all(f"\n  {path}: cannot be decoded" in str(error.value) for path in upright[1:3])
