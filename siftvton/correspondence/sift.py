"""SIFT key points of a picture, and the ratio test between two pictures' (paper §3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

RATIO = 0.80  # nearest over second nearest descriptor distance


@dataclass(frozen=True, eq=False)
class KeyPoints:
    """N key points of one picture.

    Attributes:
        xy: (N, 2) float32, (x right, y down) in pixels.
        size: (N,) float32, diameter in pixels.
        angle: (N,) float32, orientation in degrees, 0 to 360.
        rgb: (N, 3) uint8, the picture's colour at the nearest pixel.
    """

    xy: np.ndarray
    size: np.ndarray
    angle: np.ndarray
    rgb: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.xy)
        shapes = [array.shape for array in (self.xy, self.size, self.angle, self.rgb)]
        assert shapes == [(count, 2), (count,), (count,), (count, 3)], f"key points have shapes {shapes}"

    def __len__(self) -> int:
        return len(self.xy)

    def __getitem__(self, index: np.ndarray) -> KeyPoints:
        return KeyPoints(self.xy[index], self.size[index], self.angle[index], self.rgb[index])


Detected = tuple[KeyPoints, np.ndarray]  # with their descriptors, (N, 128) float32
# What is found where there is nothing.
NOTHING: Detected = (
    KeyPoints(*(np.zeros(shape, kind) for shape, kind in (((0, 2), "f4"), (0, "f4"), (0, "f4"), ((0, 3), "u1")))),
    np.zeros((0, 128), np.float32),
)


@dataclass(frozen=True, eq=False)
class Matches:
    """N pairs of key points that passed the ratio test, by rising descriptor distance.

    Attributes:
        person: N key points of the person's photo.
        garment: N key points of the garment's picture, aligned.
        distance: (N,) float32, Euclidean distance of the descriptors.
    """

    person: KeyPoints
    garment: KeyPoints
    distance: np.ndarray

    def __post_init__(self) -> None:
        assert len(self.person) == len(self.garment) == len(self.distance), "the arrays are not aligned"
        assert (np.diff(self.distance) >= 0).all(), "the matches are not sorted by distance"

    def __len__(self) -> int:
        return len(self.distance)

    def __getitem__(self, index: np.ndarray) -> Matches:
        return Matches(self.person[index], self.garment[index], self.distance[index])


def detect(picture: np.ndarray) -> Detected:
    """Key points with their descriptors, by SIFT with OpenCV's defaults.

    Args:
        picture: (height, width, 3) uint8, red first.

    Returns:
        N key points and their descriptors, (N, 128) float32.
    """
    # SIFT greys a picture as if blue came first. The published correspondences come from red-first arrays, so the
    # channels stay in this order: that way the key points coincide with theirs.
    points, descriptors = cv2.SIFT.create().detectAndCompute(picture, None)
    xy = np.array([point.pt for point in points], np.float32).reshape(-1, 2)
    column, row = np.rint(xy).astype(int).T
    key_points = KeyPoints(
        xy,
        np.array([point.size for point in points], np.float32),
        np.array([point.angle for point in points], np.float32),
        picture[row, column],
    )
    return key_points, np.zeros((0, 128), np.float32) if descriptors is None else descriptors


def ratio_test(person: np.ndarray, garment: np.ndarray, ratio: float = RATIO) -> tuple[np.ndarray, ...]:
    """Brute-force matches whose nearest descriptor is clearly nearer than the second nearest: d₁ < ratio·d₂.

    Args:
        person: (N_p, 128) float32 descriptors.
        garment: (N_g, 128) float32 descriptors; with fewer than two on either side there is no match.
        ratio: the threshold.

    Returns:
        Indices into ``person``, indices into ``garment`` and the distances d₁, sorted by distance.
    """
    if min(len(person), len(garment)) < 2:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0, np.float32)
    nearest = cv2.BFMatcher(cv2.NORM_L2).knnMatch(person, garment, k=2)
    good = [first for first, second in nearest if first.distance < ratio * second.distance]
    good.sort(key=lambda match: match.distance)  # stable, so ties stay in the person's order
    return (
        np.array([match.queryIdx for match in good], int),
        np.array([match.trainIdx for match in good], int),
        np.array([match.distance for match in good], np.float32),
    )


def match(person: Detected, garment: Detected) -> Matches:
    """The matches between what :func:`detect` found in two pictures."""
    from_person, from_garment, distance = ratio_test(person[1], garment[1])
    return Matches(person[0][from_person], garment[0][from_garment], distance)
