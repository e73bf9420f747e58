"""Joints from every numbering and file form, and what is said about a file that is not one."""

import json
from pathlib import Path

import numpy as np
import pytest

from siftvton.errors import InputError
from siftvton.prepare.joints import (
    COCO_17,
    NAMES,
    Joints,
    from_body25,
    from_coco17,
    from_coco18,
    largest,
    openpose,
    read_openpose,
)

# A person with every joint at a place of its own, and its rows in each scheme.
PLACES = {name: (float(10 + number), float(50 + 2 * number)) for number, name in enumerate(NAMES)}
BODY_25_ORDER = [*NAMES[:8], "middle of the hips", *NAMES[8:], *["face or foot"] * 10]
COCO_18_ORDER = [*NAMES, *["eye or ear"] * 4]
COCO_17_ORDER = [
    *("nose", "left eye", "right eye", "left ear", "right ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
]


def rows(order: list[str], *missing: str) -> np.ndarray:
    """(N, 3) x, y, confidence; a missing joint is all zero."""
    return np.array([(*PLACES.get(name, (1.0, 1.0)), 0.9) if name not in missing else (0, 0, 0) for name in order])


def written(path: Path, value: object) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def people(*persons: np.ndarray) -> dict:
    return {"version": 1.3, "people": [{"pose_keypoints_2d": person.ravel().tolist()} for person in persons]}


# The schemes


def test_each_scheme_names_the_same_joints() -> None:
    assert from_body25(rows(BODY_25_ORDER)) == from_coco18(rows(COCO_18_ORDER)) == Joints(PLACES)
    assert {name: COCO_17_ORDER.index(name) for name in NAMES if name != "neck"} == COCO_17
    without_neck = {name: place for name, place in PLACES.items() if name != "neck"}
    found = dict(from_coco17(rows(COCO_17_ORDER), 0.3).points)
    middle = (np.array(PLACES["right_shoulder"]) + PLACES["left_shoulder"]) / 2
    assert found.pop("neck") == tuple(middle)
    assert found == without_neck


def test_a_joint_at_the_origin_or_negative_is_missing() -> None:
    joints = from_body25(rows(BODY_25_ORDER, "left_wrist"))
    assert not joints.has("left_wrist")
    assert joints.has("left_elbow", "right_wrist")
    assert not joints.has("left_elbow", "left_wrist")
    dresscode = rows(COCO_18_ORDER)
    dresscode[NAMES.index("right_wrist")] = (-1, -1, 0)
    assert set(from_coco18(dresscode).points) == set(NAMES) - {"right_wrist"}


def test_a_joint_below_the_least_confidence_is_missing() -> None:
    array = rows(COCO_17_ORDER)
    array[COCO_17["left_knee"], 2] = 0.29
    assert set(NAMES) - set(from_coco17(array, 0.3).points) == {"left_knee"}


def test_a_joint_that_is_not_finite_is_missing() -> None:
    array = rows(COCO_17_ORDER)
    array[COCO_17["nose"], 0] = np.nan
    array[COCO_17["left_knee"], 1] = np.inf
    assert set(NAMES) - set(from_coco17(array, 0.3).points) == {"nose", "left_knee"}


def test_a_missing_neck_is_the_middle_of_the_shoulders_if_both_are_there() -> None:
    assert from_body25(rows(BODY_25_ORDER, "neck")).points["neck"] == (13.5, 57.0)
    assert not from_body25(rows(BODY_25_ORDER, "neck", "left_shoulder")).has("neck")


def test_joints_move_together() -> None:
    moved = Joints(PLACES).moved(lambda places: places * [2, 3] + [1, 0])
    assert moved.points == {name: (2 * x + 1, 3 * y) for name, (x, y) in PLACES.items()}
    assert moved["nose"].tolist() == [21, 150]
    assert Joints({}).moved(lambda places: places * 2).points == {}


def test_the_largest_person_spans_the_largest_box() -> None:
    small, large = Joints(PLACES), Joints(PLACES).moved(lambda places: places * 2)
    alone = Joints({"nose": (500.0, 500.0)})
    assert largest([small, large, alone, Joints({})]) is large


# Files


@pytest.mark.parametrize("order", [BODY_25_ORDER, COCO_18_ORDER], ids=["BODY_25", "COCO-18"])
def test_openpose_files_are_read_by_their_number_of_joints(tmp_path: Path, order: list[str]) -> None:
    path = written(tmp_path / "a_keypoints.json", people(rows(order), 3 * rows(order)))
    assert read_openpose(path) == [Joints(PLACES), Joints(PLACES).moved(lambda places: 3 * places)]


def test_written_joints_read_back(tmp_path: Path) -> None:
    joints = Joints({name: place for name, place in PLACES.items() if name != "left_knee"})
    assert read_openpose(written(tmp_path / "a_keypoints.json", openpose(joints))) == [joints]


def test_dresscode_s_file_is_read(tmp_path: Path) -> None:
    numbered = np.hstack([rows(COCO_18_ORDER), np.arange(18)[:, None]])
    numbered[4, :3] = (-1, -1, 0)
    (joints,) = read_openpose(written(tmp_path / "a_2.json", {"keypoints": numbered.tolist()}))
    assert joints.points == {name: place for name, place in PLACES.items() if name != "right_wrist"}


NUMBERS = [1.0] * 74


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ([1, 2], 'has no list "people" or "keypoints"'),
        ({"people": 3}, 'has no list "people" or "keypoints"'),
        ({"people": []}, "lists no person"),
        ({"people": [{"pose_keypoints_2d": [0] * 75}]}, "lists no person"),
        ({"people": [7]}, r'people\[0\] has no list "pose_keypoints_2d"'),
        ({"people": [{"pose_keypoints_2d": NUMBERS}]}, r"people\[0\] has 74 numbers; use OpenPose's BODY_25"),
        ({"people": [{"pose_keypoints_2d": [*NUMBERS, "1"]}]}, r"people\[0\] contains '1'"),
        ({"people": [{"pose_keypoints_2d": [*NUMBERS, True]}]}, r"people\[0\] contains 'True'"),
        ('{"people": [{"pose_keypoints_2d": [1e999' + ", 1" * 74 + "]}]}", r"people\[0\] contains 'inf'"),
        ('{"people": [{"pose_keypoints_2d": [1' + "0" * 400 + ", 1" * 74 + "]}]}", r"people\[0\] contains '1000"),
        ({"people": [{"pose_keypoints_2d": [0.5] * 75}]}, "positions between 0 and 1"),
        ({"keypoints": [[1, 2, 3]] * 18}, "is not 18 × "),
        ({"keypoints": [[1, 2, 1, 0]] * 17}, "is not 18 × "),
        ({"keypoints": [[1, 2, None, 0]] * 18}, "contains 'None'"),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(tmp_path: Path, content: object, said: str) -> None:
    path = written(tmp_path / "a_keypoints.json", content)
    with pytest.raises(InputError, match=said) as caught:
        read_openpose(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
