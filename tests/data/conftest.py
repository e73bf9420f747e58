"""A data folder of three drawn training pairs, small enough to be written for every test."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from siftvton.correspondence import Correspondences, write_matches
from siftvton.correspondence.regions import PART_COLOURS
from siftvton.files import write_image, write_text

HEIGHT, WIDTH = 96, 72
PERSONS = ("a_00", "b_00", "c_00")


def _photo(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def write_person(folder: Path, name: str, seed: int) -> None:
    """All files of one person and of the garment of the same name: a light photo, torso and arms, a dark garment."""
    photo = _photo(seed) // 4 + 170
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[30:70, 20:50] = 255
    densepose = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    densepose[32:66, 24:46] = PART_COLOURS[2]
    densepose[32:60, 16:24] = PART_COLOURS[16]
    densepose[32:60, 46:54] = PART_COLOURS[15]
    garment = np.full((HEIGHT, WIDTH, 3), 250, np.uint8)
    garment[12:84, 10:62] = _photo(seed + 100)[12:84, 10:62] // 2
    garment_mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    garment_mask[12:84, 10:62] = 255
    worn = np.zeros((HEIGHT, WIDTH), np.uint8)
    worn[34:64, 25:45] = 255

    write_image(folder / "image" / f"{name}.jpg", photo)
    write_image(folder / "agnostic-v3.2" / f"{name}.jpg", np.where(mask[:, :, None] > 0, np.uint8(128), photo))
    write_image(folder / "agnostic-mask" / f"{name}_mask.png", mask)
    write_image(folder / "image-densepose" / f"{name}.png", densepose)
    write_image(folder / "cloth" / f"{name}.jpg", garment)
    write_image(folder / "cloth-mask" / f"{name}.jpg", garment_mask)
    write_image(folder / "gt_cloth_warped_mask" / f"{name}.png", worn)
    matches = Correspondences(
        np.array([[30.0, 40.0], [36.0, 52.0]]), np.array([[20.0, 30.0], [31.0, 55.0]]), (HEIGHT, WIDTH)
    )
    write_matches(folder / "sift_matching" / f"{name}_sift_matches.json", matches)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """All files that a command requires: three pairs in ``train``, and x_00 with the garment of y_00 in ``test``."""
    data = tmp_path / "data"
    for seed, name in enumerate(PERSONS):
        write_person(data / "train", name, seed)
    write_text(data / "train_pairs.txt", "".join(f"{name}.jpg {name}.jpg\n" for name in PERSONS))
    for seed, name in enumerate(("x_00", "y_00")):
        write_person(data / "test", name, 50 + seed)
    write_text(data / "test_pairs.txt", "x_00.jpg y_00.jpg\n")
    return data
