"""A person's joints, the same for every numbering: OpenPose's BODY_25, COCO-18 (also DressCode's) and COCO-17."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siftvton.errors import InputError
from siftvton.files import read_json

Point = tuple[float, float]  # (x, y) in pixels

# Right and left are the person's own.
NAMES = (
    *("nose", "neck"),
    *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
)
DRESSCODE_SIZE = (512, 384)  # height and width of the pictures in whose pixels DressCode's joints are
# The number of each joint in each scheme.
BODY_25 = dict(zip(NAMES, (*range(8), *range(9, 15)), strict=True))
COCO_18 = dict(zip(NAMES, range(14), strict=True))
COCO_17 = dict(
    zip([name for name in NAMES if name != "neck"], (0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15), strict=True)
)


@dataclass(frozen=True)
class Joints:
    """The joints of one person.

    Attributes:
        points: name -> (x, y) in pixels; names as in ``NAMES``; a missing joint has no entry. A missing neck is the
            middle of the shoulders, if both are there.
    """

    points: Mapping[str, Point]

    def __post_init__(self) -> None:
        assert set(self.points) <= set(NAMES), f"unknown joints {sorted(set(self.points) - set(NAMES))}"
        if not self.has("neck") and self.has("right_shoulder", "left_shoulder"):
            neck = (self["right_shoulder"] + self["left_shoulder"]) / 2
            object.__setattr__(self, "points", {**self.points, **_named(["neck"], neck[None])})

    def __getitem__(self, name: str) -> np.ndarray:
        """The (2,) float64 position of a joint that is there."""
        return np.array(self.points[name], np.float64)

    def has(self, *names: str) -> bool:
        """Whether all these joints were found."""
        return all(name in self.points for name in names)

    def moved(self, function: Callable[[np.ndarray], np.ndarray]) -> Joints:
        """Return the joints after ``function``, which maps (N, 2) positions to (N, 2) positions, as a resize does."""
        if not self.points:
            return self
        places = function(np.array(list(self.points.values()), np.float64))
        return Joints(_named(self.points, places))


def from_body25(array: np.ndarray) -> Joints:
    """Return the joints of OpenPose's BODY_25: (25, 3) x, y, confidence. A joint at (0, 0) is missing."""
    assert array.shape == (25, 3), f"BODY_25 has shape (25, 3), not {array.shape}"
    return _present(array, BODY_25, array[:, :2].max(axis=1) > 0)


def from_coco18(array: np.ndarray) -> Joints:
    """Return the joints of COCO-18: (18, 3) x, y, confidence. A joint at (0, 0) or negative is missing."""
    assert array.shape == (18, 3), f"COCO-18 has shape (18, 3), not {array.shape}"
    return _present(array, COCO_18, array[:, :2].max(axis=1) > 0)


def from_coco17(array: np.ndarray, least_confidence: float) -> Joints:
    """Return the joints of COCO-17: (17, 3) x, y, confidence. A joint with a lower confidence is missing."""
    assert array.shape == (17, 3), f"COCO-17 has shape (17, 3), not {array.shape}"
    return _present(array, COCO_17, array[:, 2] >= least_confidence)


def openpose(joints: Joints) -> dict[str, Any]:
    """Return the content of an OpenPose file in BODY_25 form with one person; a missing joint is at (0, 0)."""
    rows = np.zeros((25, 3))
    for name, (x, y) in joints.points.items():
        rows[BODY_25[name]] = x, y, 1
    return {"version": 1.3, "people": [{"pose_keypoints_2d": rows.round(3).ravel().tolist()}]}


def largest(persons: Sequence[Joints]) -> Joints:
    """Return the person whose joints span the largest box."""
    assert persons, "there is no person to choose"
    return max(persons, key=_box_area)


def read_openpose(path: str | Path, size: tuple[int, int] | None = None) -> list[Joints]:
    """Read the joints of all persons in a file; at least one.

    Args:
        path: a JSON file as OpenPose writes it (BODY_25 or COCO-18, told by the number of joints), or as in DressCode
            (one person, COCO-18).
        size: (height, width) of the photo. DressCode's joints are in pixels of a photo of 512×384, and are moved to
            this size. None: they are not moved.

    Raises:
        InputError: the file is missing or damaged, has another form, or lists no person.
    """
    value = read_json(path)
    persons = [joints for joints in _persons(path, value) if joints.points]
    if size is not None and "people" not in value:
        scale = np.array(size[::-1]) / DRESSCODE_SIZE[::-1]
        persons = [joints.moved(lambda places: scale * places) for joints in persons]
    if not persons:
        raise InputError(f"{path}: lists no person; use a photo that shows one person, or find the joints again")
    return persons


def _persons(path: str | Path, value: Any) -> Iterable[Joints]:
    if isinstance(value, dict) and isinstance(value.get("people"), list):
        for number, person in enumerate(value["people"]):
            yield _person(path, person, f"people[{number}]")
    elif isinstance(value, dict) and isinstance(value.get("keypoints"), list):
        rows = value["keypoints"]
        if len(rows) != 18 or not all(isinstance(row, list) and len(row) == 4 for row in rows):
            raise InputError(f'{path}: "keypoints" is not 18 × [x, y, confidence, number]; use DressCode\'s own file')
        numbers = _numbers(path, [number for row in rows for number in row], '"keypoints"')
        yield from_coco18(numbers.reshape(18, 4)[:, :3])
    else:
        raise InputError(f'{path}: has no list "people" or "keypoints"; give a file that OpenPose or DressCode wrote')


def _person(path: str | Path, person: Any, where: str) -> Joints:
    flat = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
    if not isinstance(flat, list):
        raise InputError(f'{path}: {where} has no list "pose_keypoints_2d"; give a file that OpenPose wrote')
    readers = {25 * 3: from_body25, 18 * 3: from_coco18}
    if len(flat) not in readers:
        raise InputError(
            f"{path}: {where} has {len(flat)} numbers; use OpenPose's BODY_25 (75 numbers) or COCO-18 (54 numbers)"
        )
    numbers = _numbers(path, flat, where).reshape(-1, 3)
    if 0 < numbers[:, :2].max() <= 1:
        raise InputError(f"{path}: {where} has positions between 0 and 1; let OpenPose write pixels (keypoint_scale 0)")
    return readers[len(flat)](numbers)


def _numbers(path: str | Path, values: list[Any], where: str) -> np.ndarray:
    """(N,) float64."""
    for value in values:
        # JSON allows numbers such as 1e999, which become infinite, and whole numbers of any length.
        if type(value) not in (int, float) or not abs(value) < math.inf or abs(value) > 1e9:
            raise InputError(f"{path}: {where} contains {str(value)[:20]!r}, not a position in pixels; make it again")
    return np.array(values, np.float64)


def _present(array: np.ndarray, numbers: Mapping[str, int], present: np.ndarray) -> Joints:
    """Return the joints that are present.

    Args:
        array: (N, 3) x, y, confidence.
        numbers: the row of each joint.
        present: (N,) bool; a joint that is NaN or infinite is missing in any case.
    """
    present = present & np.isfinite(array[:, :2]).all(axis=1)
    found = [name for name, number in numbers.items() if present[number]]
    return Joints(_named(found, array[[numbers[name] for name in found], :2]))


def _named(names: Iterable[str], places: np.ndarray) -> dict[str, Point]:
    return {name: (float(x), float(y)) for name, (x, y) in zip(names, places, strict=True)}


def _box_area(joints: Joints) -> float:
    places = np.array(list(joints.points.values()), np.float64).reshape(-1, 2)
    return float(np.ptp(places, axis=0).prod()) if len(places) else 0.0
