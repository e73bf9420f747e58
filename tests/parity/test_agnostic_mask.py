"""Agnostic masks agree with those that the published code draws: VITON-HD's, and DressCode's of each category."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from siftvton.files import read_grey, read_labels
from siftvton.prepare.category_mask import category_mask
from siftvton.prepare.joints import largest, read_openpose
from siftvton.prepare.labels import ATR, to_cihp
from siftvton.prepare.mask import agnostic_mask

LEAST_OVERLAP = 0.995
DRESSCODE_SCALE = 2  # joints are given in pixels of 384×512, pictures have 768×1024


def overlap(mask: np.ndarray, expected: np.ndarray) -> float:
    """Intersection over union of two boolean masks."""
    return np.count_nonzero(mask & expected) / np.count_nonzero(mask | expected)


@pytest.mark.parametrize("name", ["00891_00", "07445_00", "08909_00"])
def test_vitonhd(golden: Callable[[str], Path], photos: Path, name: str) -> None:
    expected = read_grey(golden(f"agnostic_mask/{name}_mask.png"))
    folder = photos / "vitonhd_mini" / "test"
    joints = largest(read_openpose(folder / "openpose-json" / f"{name}_keypoints.json"))
    drawn = agnostic_mask(joints, read_labels(folder / "image-parse" / f"{name}.png"), expected.shape)
    assert overlap(drawn.mask > 0, expected > 0) >= LEAST_OVERLAP


@pytest.mark.parametrize(
    ("category", "name"),
    [
        *(("upper_body", "020001"), ("upper_body", "020002"), ("lower_body", "020101"), ("lower_body", "020102")),
        *(("dresses", "020201"), ("dresses", "020202")),
    ],
)
def test_dresscode(golden: Callable[[str], Path], category: str, name: str) -> None:
    folder = golden("dresscode") / category
    expected = read_grey(folder / "golden_mask" / f"{name}_0.png")
    labels = read_labels(folder / "label_maps" / f"{name}_4.png")
    joints = largest(read_openpose(folder / "keypoints" / f"{name}_2.json"))
    joints = joints.moved(lambda places: DRESSCODE_SCALE * places)
    drawn = category_mask(category, joints, to_cihp(labels, "atr"), expected.shape, labels == ATR["bag"])
    assert overlap(drawn.mask > 0, expected > 0) >= LEAST_OVERLAP
