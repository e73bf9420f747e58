"""The ASIFT matcher: SIFT on both pictures as they look from several directions (Morel & Yu 2009).

A worn garment is stretched and turned away at its sides. SIFT compares such places badly with the flat garment. ASIFT
also searches views that are compressed along several directions, so that some view of the garment looks like the worn
cloth.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from siftvton.correspondence.key_points import KeyPointMatches, KeyPoints
from siftvton.correspondence.regions import Region
from siftvton.correspondence.sift import RATIO, Detected, match_painted

TILTS = 2  # views are compressed by up to √2 to this power; each further tilt multiplies the time by about 1.8
APART = 10.0  # pixels; garment points that are closer show the same spot, seen in several views
CANDIDATES = 16  # how many nearest garment points are searched for one that is apart from the first


class Asift:
    """Match each region by itself, painted as for :class:`siftvton.correspondence.sift.Sift`.

    A point's size and angle belong to the view in which it was found. Two views cannot be compared by them, so they
    are not given, and the filters that need them do not run.
    """

    def match(self, person: np.ndarray, garment: np.ndarray, areas: Sequence[Region]) -> list[KeyPointMatches]:
        """The matches of each region, as :class:`siftvton.correspondence.matchers.Matcher` defines them."""
        return match_painted(person, garment, areas, detect_in_views, match_views)


def detect_in_views(picture: np.ndarray, tilts: int = TILTS) -> Detected:
    """Detect key points in all views of a picture.

    Args:
        picture: (height, width, 3) uint8, red first.
        tilts: how many tilts to search beside the picture itself, each in several directions.

    Returns:
        N key points without size and angle, and their RootSIFT descriptors, (N, 128) float32.
    """
    found, descriptors = cv2.AffineFeature.create(cv2.SIFT.create(), tilts).detectAndCompute(picture, None)
    xy = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    height, width = picture.shape[:2]
    inside = ((xy >= 0) & (xy <= [width - 1, height - 1])).all(axis=1)  # a view shows its paint around the picture
    if descriptors is None:
        descriptors = np.zeros((0, 128), np.float32)
    return KeyPoints.at(xy[inside], picture), root(descriptors[inside])


def root(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT descriptors, (N, 128) float32 of length 1, from SIFT's (N, 128) (Arandjelović & Zisserman 2012)."""
    return np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32)


def match_views(person: Detected, garment: Detected, ratio: float = RATIO) -> KeyPointMatches:
    """Match each point with its nearest one by the ratio test against the nearest one at another spot.

    Several views show the same spot, so the second nearest descriptor is often that of the same spot. It would fail
    the ratio test although the match is right. Source: the first geometrically inconsistent nearest neighbour of
    Mishkin et al. 2015. If all ``CANDIDATES`` are at the same spot, the farthest of them decides.
    """
    (on_person, of_person), (on_garment, of_garment) = person, garment
    if min(len(of_person), len(of_garment)) < 2:
        none = np.zeros(0, int)
        return KeyPointMatches(on_person[none], on_garment[none], np.zeros(0, np.float32))
    count = min(CANDIDATES, len(of_garment))
    distance, index = cv2.batchDistance(  #                                      (N, count) each
        of_person, of_garment, cv2.CV_32F, normType=cv2.NORM_L2, K=count
    )
    xy = on_garment.xy[index]  #                                                 (N, count, 2)
    apart = np.linalg.norm(xy - xy[:, :1], axis=2) > APART
    second = np.where(apart.any(axis=1), apart.argmax(axis=1), count - 1)
    good = np.flatnonzero(distance[:, 0] < ratio * distance[np.arange(len(distance)), second])
    return KeyPointMatches.ranked(on_person[good], on_garment[index[good, 0]], distance[good, 0])
