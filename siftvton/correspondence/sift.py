"""The SIFT matcher: key points of painted pictures, and the ratio test between them (paper §3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from siftvton.correspondence.key_points import KeyPointMatches, KeyPoints
from siftvton.correspondence.regions import Region
from siftvton.correspondence.subnormals import subnormals_as_zero

RATIO = 0.80  # nearest over second nearest descriptor distance
FEWEST = 2  # key points on either side; with fewer there is no second nearest descriptor, and nothing is matched
BLACK, WHITE = 0, 255
MARGIN = 96  # pixels that are searched around a region; with 64, one of 129 published matches was different
OCTAVE_GRID = 32  # a crop starts at a multiple of it, so that SIFT's octaves sample the same pixels as in the whole

Detected = tuple[KeyPoints, np.ndarray]  # N key points and their descriptors, (N, 128) float32
# The result of a search in an empty area.
NOTHING: Detected = (
    KeyPoints(*(np.zeros(shape, kind) for shape, kind in (((0, 2), "f4"), (0, "f4"), (0, "f4"), ((0, 3), "u1")))),
    np.zeros((0, 128), np.float32),
)


class Sift:
    """Match each region by itself, as the published correspondences were made.

    Outside the region the photo is painted black and the garment's picture white. A match can therefore lie a few
    pixels outside the region, at the edge of the paint.
    """

    def match(self, person: np.ndarray, garment: np.ndarray, areas: Sequence[Region]) -> list[KeyPointMatches]:
        """The matches of each region, as :class:`siftvton.correspondence.matchers.Matcher` defines them."""
        return match_painted(person, garment, areas, detect, match_detected)


def match_painted(
    person: np.ndarray,
    garment: np.ndarray,
    areas: Sequence[Region],
    detector: Callable[[np.ndarray], Detected],
    pairing: Callable[[Detected, Detected], KeyPointMatches],
) -> list[KeyPointMatches]:
    """The matches of each region, found by itself in painted pictures.

    Args:
        person: (height, width, 3) uint8, red first.
        garment: (height, width, 3) uint8, red first, of the same size.
        areas: the regions.
        detector: finds key points and descriptors in a picture (height, width, 3).
        pairing: matches what the detector found on the person and on the garment. It finds no match if one of them
            has fewer than ``FEWEST`` key points; then the person is not searched.
    """
    garments: dict[int, Detected] = {}  # a garment area that regions share is searched once
    matches = []
    for area in areas:
        of_person = of_garment = NOTHING
        if area.person.any() and area.garment.any():
            if id(area.garment) not in garments:
                garments[id(area.garment)] = detect_in(garment, area.garment, WHITE, detector)
            of_garment = garments[id(area.garment)]
            if len(of_garment[0]) >= FEWEST:
                of_person = detect_in(person, area.person, BLACK, detector)
        matches.append(pairing(of_person, of_garment))
    return matches


def painted(picture: np.ndarray, area: np.ndarray, grey: int) -> np.ndarray:
    """``picture`` (height, width, 3) with the grey level ``grey`` wherever ``area`` (height, width) is false."""
    return cv2.copyTo(picture, area.astype(np.uint8), np.full_like(picture, grey))


def detect_in(
    picture: np.ndarray, area: np.ndarray, grey: int, detector: Callable[[np.ndarray], Detected] | None = None
) -> Detected:
    """Detect key points in a picture that is :func:`painted` outside ``area``.

    Detection takes nearly all of a pair's time, and its time grows with the number of pixels. Therefore only the area
    and a margin around it are searched. Only key points as wide as ``MARGIN`` are affected by the end of the margin.

    Args:
        picture: (height, width, 3) uint8, red first.
        area: (height, width) booleans.
        grey: the grey level of the paint, 0 to 255.
        detector: finds key points and descriptors in a picture; None: :func:`detect`.
    """
    if not area.any():
        return NOTHING
    left, top, width, height = cv2.boundingRect(area.astype(np.uint8))
    column, row = (max(first - MARGIN, 0) // OCTAVE_GRID * OCTAVE_GRID for first in (left, top))
    crop = np.s_[row : top + height + MARGIN, column : left + width + MARGIN]
    points, descriptors = (detector or detect)(painted(picture[crop], area[crop], grey))
    return replace(points, xy=points.xy + np.array([column, row], np.float32)), descriptors


def detect(picture: np.ndarray) -> Detected:
    """Detect key points and their descriptors, by SIFT with OpenCV's defaults.

    Args:
        picture: (height, width, 3) uint8, red first.

    Returns:
        N key points with size and angle, and their descriptors, (N, 128) float32.
    """
    # OpenCV's SIFT converts to grey as if blue came first. The published correspondences were made from pictures with
    # red first. The channels are not swapped here, so that the key points are the same as the published ones.
    with subnormals_as_zero():  # blurring fills black paint with them; SIFT then takes half as long again
        points, descriptors = cv2.SIFT.create().detectAndCompute(picture, None)
    key_points = KeyPoints.at(
        np.array([point.pt for point in points], np.float32).reshape(-1, 2),
        picture,
        size=np.array([point.size for point in points], np.float32),
        angle=np.array([point.angle for point in points], np.float32),
    )
    return key_points, np.zeros((0, 128), np.float32) if descriptors is None else descriptors


def ratio_test(person: np.ndarray, garment: np.ndarray, ratio: float = RATIO) -> tuple[np.ndarray, ...]:
    """Match each descriptor with its nearest one if that is clearly nearer than the second nearest: d₁ < ratio·d₂.

    Args:
        person: (N_p, 128) float32 descriptors.
        garment: (N_g, 128) float32 descriptors. With fewer than ``FEWEST`` on either side there is no match.
        ratio: the threshold.

    Returns:
        Indices into ``person``, indices into ``garment`` and the distances d₁, sorted by distance.
    """
    if min(len(person), len(garment)) < FEWEST:
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0, np.float32)
    nearest = cv2.BFMatcher(cv2.NORM_L2).knnMatch(person, garment, k=2)
    good = [first for first, second in nearest if first.distance < ratio * second.distance]
    good.sort(key=lambda match: match.distance)  # a stable sort: equal distances stay in the order of the person
    return (
        np.array([match.queryIdx for match in good], int),
        np.array([match.trainIdx for match in good], int),
        np.array([match.distance for match in good], np.float32),
    )


def match_detected(person: Detected, garment: Detected) -> KeyPointMatches:
    """Match what :func:`detect` found in two pictures by the ratio test."""
    from_person, from_garment, distance = ratio_test(person[1], garment[1])
    return KeyPointMatches(person[0][from_person], garment[0][from_garment], distance)
