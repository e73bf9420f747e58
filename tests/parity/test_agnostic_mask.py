"""Masks of the upper body agree with those that the published code draws."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from siftvton.files import read_grey, read_labels
from siftvton.prepare.joints import largest, read_openpose
from siftvton.prepare.labels import CIHP, to_cihp
from siftvton.prepare.mask import KEPT, agnostic_mask, body_of, hands, upper_body

LEAST_OVERLAP = 0.995
# DressCode's own masks also leave out these. ATR's face includes the neck, which they leave out, too.
DRESSCODE_KEPT = [*KEPT, CIHP["hat"], CIHP["hair"], CIHP["scarf"]]
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


@pytest.mark.parametrize("name", ["020001", "020002"])
def test_dresscode(golden: Callable[[str], Path], name: str) -> None:
    folder = golden("dresscode") / "upper_body"
    expected = read_grey(folder / "golden_mask" / f"{name}_0.png")
    parsing = to_cihp(read_labels(folder / "label_maps" / f"{name}_4.png"), "atr")
    joints = largest(read_openpose(folder / "keypoints" / f"{name}_2.json"))
    body = body_of(joints.moved(lambda places: DRESSCODE_SCALE * places), expected.shape)
    mask = upper_body(body) & ~hands(body, parsing) & ~np.isin(parsing, DRESSCODE_KEPT)
    assert overlap(mask, expected > 0) >= LEAST_OVERLAP
