"""DressCode's masks: what each category paints and leaves out."""

from pathlib import Path

import numpy as np
import pytest
from drawn_dresscode import GOLDEN, NUMBERS

from siftvton.errors import InputError
from siftvton.files import read_labels
from siftvton.prepare.category_mask import category_mask
from siftvton.prepare.joints import Joints, read_openpose
from siftvton.prepare.labels import CIHP, to_cihp

SIZE = (1024, 768)


def person(category: str) -> tuple[Joints, np.ndarray]:
    """The joints and the labels, in CIHP's numbers, of the first person of a category."""
    name = NUMBERS[category][0]
    (joints,) = read_openpose(GOLDEN / category / "keypoints" / f"{name}_2.json", SIZE)
    return joints, to_cihp(read_labels(Path(GOLDEN, category, "label_maps", f"{name}_4.png")), "atr")


def without(joints: Joints, *names: str) -> Joints:
    return Joints({name: place for name, place in joints.points.items() if name not in names})


def share(mask: np.ndarray, parsing: np.ndarray, *labels: str) -> float:
    """The share of the labels' pixels that is painted."""
    return float((mask[np.isin(parsing, [CIHP[label] for label in labels])] > 0).mean())


@pytest.mark.parametrize(
    ("category", "painted", "kept"),
    [
        ("upper_body", ["upper_clothes"], ["face", "hair", "trousers", "left_shoe"]),
        ("lower_body", ["trousers", "left_leg", "right_leg"], ["face", "hair", "upper_clothes", "left_arm"]),
        ("dresses", ["dress", "left_leg", "right_leg"], ["face", "hair"]),
    ],
)
def test_each_category_paints_its_garment_and_keeps_the_rest(
    category: str, painted: list[str], kept: list[str]
) -> None:
    joints, parsing = person(category)
    drawn = category_mask(category, joints, parsing, SIZE)
    assert all(share(drawn.mask, parsing, label) > 0.98 for label in painted)
    assert all(share(drawn.mask, parsing, label) == 0 for label in kept)
    assert drawn.remarks == ()


def test_a_bag_stays_on_a_lower_body_alone() -> None:
    bag = np.zeros(SIZE, bool)
    bag[600:700, 200:500] = True
    for category, left_out in (("lower_body", True), ("dresses", False)):
        joints, parsing = person(category)
        drawn = category_mask(category, joints, parsing, SIZE, bag).mask > 0
        free = category_mask(category, joints, parsing, SIZE).mask > 0
        np.testing.assert_array_equal(drawn, free & ~bag if left_out else free)


def test_shoes_are_taken_out_beyond_the_ankle() -> None:
    joints, parsing = person("lower_body")
    ankle = joints["left_ankle"].astype(int)
    far, near = (ankle[1] + 60, ankle[0]), (ankle[1] + 10, ankle[0])  # r is 11 pixels: the leg ends at 44
    for row, column in (far, near):
        parsing[row - 4 : row + 4, column - 4 : column + 4] = CIHP["left_shoe"]
    mask = category_mask("lower_body", joints, parsing, SIZE).mask
    assert mask[near] == 255
    assert mask[far] == 0


def test_a_lower_body_needs_no_shoulders() -> None:
    joints, parsing = person("lower_body")
    whole = category_mask("lower_body", joints, parsing, SIZE).mask > 0
    cropped = without(joints, "right_shoulder", "left_shoulder", "neck", "nose")
    drawn = category_mask("lower_body", cropped, parsing, SIZE)
    assert np.count_nonzero(whole & (drawn.mask > 0)) / np.count_nonzero(whole | (drawn.mask > 0)) > 0.9
    assert drawn.remarks == (
        "the shoulders were not found, so the mask's widths follow from the distance between the hips",
    )
    with pytest.raises(
        InputError, match="left hip not found; use a photo that shows one person upright, from the hips"
    ):
        category_mask("lower_body", without(cropped, "left_hip"), parsing, SIZE)
    with pytest.raises(InputError, match="right shoulder not found"):
        category_mask("dresses", without(joints, "right_shoulder"), parsing, SIZE)


def test_a_missing_knee_leaves_out_the_leg_and_is_remarked() -> None:
    joints, parsing = person("dresses")
    whole = category_mask("dresses", joints, parsing, SIZE).mask > 0
    no_ankle, no_knee = (
        category_mask("dresses", without(joints, f"left_{name}"), parsing, SIZE) for name in ("ankle", "knee")
    )
    assert whole.sum() > (no_ankle.mask > 0).sum() > (no_knee.mask > 0).sum()
    assert no_ankle.remarks == ("the left ankle was not found, so the mask of the left leg ends at the knee",)
    assert no_knee.remarks == ("the left knee was not found, so the mask leaves out the left leg",)
