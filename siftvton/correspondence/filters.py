"""The filters that clean SIFT matches (paper §3.1, and what the published correspondences add to it).

Each filter takes aligned arrays of N matches and returns (N,) booleans, true to keep; thresholds are parameters.
:func:`survivors` runs a preset of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from siftvton.correspondence.ransac import largest_consensus
from siftvton.correspondence.sift import Matches

ENOUGH = 15  # matches from which on a homography takes the place of the filters for a few
HOMOGRAPHY_MINIMUM = 4  # matches that determine a homography
MINIMUM = 2  # matches a region must end with


def angle(person: np.ndarray, garment: np.ndarray, threshold: float = 45.0) -> np.ndarray:
    """Orientations (N,) differ by less than ``threshold`` around the circle; all in degrees."""
    difference = np.abs(person.astype(np.float64) - garment) % 360
    return np.minimum(difference, 360 - difference) < threshold


def scale(person: np.ndarray, garment: np.ndarray, ratio: float = 2.25) -> np.ndarray:
    """Sizes (N,) in pixels are within a factor ``ratio`` of each other, either way."""
    quotient = person.astype(np.float64) / garment
    return (1 / ratio <= quotient) & (quotient <= ratio)


def _hsv(rgb: np.ndarray) -> np.ndarray:
    """(N, 3) hue 0 to 179, saturation and value 0 to 255, from (N, 3) uint8; OpenCV refuses an empty picture."""
    if len(rgb) == 0:
        return np.zeros((0, 3), int)
    return cv2.cvtColor(rgb[:, None], cv2.COLOR_RGB2HSV)[:, 0].astype(int)


def colour(
    person: np.ndarray,
    garment: np.ndarray,
    value: float = 0.4 * 255,
    grey: float = 0.1 * 255,
    dark: float = 0.2 * 255,
    hue: float = 15.0,
) -> np.ndarray:
    """Colours are alike, as far as light and shadow on a worn garment allow.

    Args:
        person: (N, 3) uint8, red first.
        garment: (N, 3) uint8, red first.
        value: largest difference of the values, 0 to 255.
        grey: below this saturation, of 255, on both sides hues do not count.
        dark: below this value, of 255, on both sides hues do not count.
        hue: hues must differ by less around the circle, in OpenCV's units of 2°.
    """
    h_p, s_p, v_p = _hsv(person).T
    h_g, s_g, v_g = _hsv(garment).T
    both_grey = np.maximum(s_p, s_g) < grey
    both_dark = np.maximum(v_p, v_g) < dark
    same_hue = np.minimum(np.abs(h_p - h_g), 180 - np.abs(h_p - h_g)) < hue
    return (np.abs(v_p - v_g) <= value) & (both_grey | both_dark | same_hue)


def duplicate(person: np.ndarray, garment: np.ndarray, radius: float = 2**0.5) -> np.ndarray:
    """No match says again, or says otherwise, what a better one said.

    Going by rising descriptor distance, a match goes if its person point or its garment point equals a kept one's,
    or if both lie closer than ``radius`` to a kept one's.

    Args:
        person: (N, 2) points in pixels, sorted by descriptor distance.
        garment: (N, 2) points in pixels, aligned.
        radius: in pixels.
    """
    person, garment = person.astype(np.float64), garment.astype(np.float64)
    keep = np.zeros(len(person), bool)
    for index in range(len(person)):
        d_p = np.linalg.norm(person[keep] - person[index], axis=1)
        d_g = np.linalg.norm(garment[keep] - garment[index], axis=1)
        repeats = (d_p == 0) | (d_g == 0) | ((d_p < radius) & (d_g < radius))
        keep[index] = not repeats.any()
    return keep


def homography(
    person: np.ndarray, garment: np.ndarray, threshold: float = 12.0, confidence: float = 0.99
) -> np.ndarray:
    """Inliers of a homography from person to garment by RANSAC; none where the points determine no homography.

    Args:
        person: (N, 2) points in pixels.
        garment: (N, 2) points in pixels, aligned.
        threshold: largest error on the garment, in pixels.
        confidence: that a sample without an outlier was drawn, at which drawing ends.
    """
    if len(person) < HOMOGRAPHY_MINIMUM:
        return np.zeros(len(person), bool)
    return largest_consensus(person, garment, threshold, confidence)


def direction(person: np.ndarray, garment: np.ndarray, width: int, threshold: float = np.pi / 12) -> np.ndarray:
    """With the garment's picture to the right of the photo, lines between matched points run alike.

    Args:
        person: (N, 2) points in pixels.
        garment: (N, 2) points in pixels, aligned.
        width: of the photo, in pixels.
        threshold: a line differs by less from the mean slope of the other lines, in radians.
    """
    if len(person) < 2:
        return np.ones(len(person), bool)  # no other line to compare with
    across, down = (garment.astype(np.float64) - person).T
    slope = -down / (across + width)
    mean_of_others = (slope.sum() - slope) / (len(slope) - 1)
    return np.abs(np.arctan(mean_of_others) - np.arctan(slope)) < threshold


def neighbour(here: np.ndarray, there: np.ndarray, ratio: float) -> np.ndarray:
    """A match and its nearest other one on this side lie not much farther apart on the other side.

    Args:
        here: (N, 2) points in pixels, of the side that says which match is nearest.
        there: (N, 2) points in pixels of the other side, aligned.
        ratio: the distance there is at most so many times the distance here.
    """
    if len(here) < 2:
        return np.ones(len(here), bool)  # no neighbour to compare with
    here, there = here.astype(np.float64), there.astype(np.float64)
    between = np.linalg.norm(here[:, None] - here[None], axis=2)  # (N, N)
    np.fill_diagonal(between, np.inf)
    nearest = between.argmin(axis=1)  # (N,)
    return np.linalg.norm(there - there[nearest], axis=1) <= ratio * between.min(axis=1)


# A stage's name -> its filter, on matches in pictures of a width.
STAGES: dict[str, Callable[[Matches, int], np.ndarray]] = {
    "angle": lambda m, width: angle(m.person.angle, m.garment.angle),
    "scale": lambda m, width: scale(m.person.size, m.garment.size),
    "colour": lambda m, width: colour(m.person.rgb, m.garment.rgb),
    "duplicate": lambda m, width: duplicate(m.person.xy, m.garment.xy),
    "homography": lambda m, width: homography(m.person.xy, m.garment.xy),
    "direction": lambda m, width: direction(m.person.xy, m.garment.xy, width),
    "neighbour_garment": lambda m, width: neighbour(m.garment.xy, m.person.xy, ratio=1.4),
    "neighbour_person": lambda m, width: neighbour(m.person.xy, m.garment.xy, ratio=1.8),
    "minimum": lambda m, width: np.full(len(m), len(m) >= MINIMUM),
}


@dataclass(frozen=True)
class Preset:
    """Stages in their order.

    Attributes:
        first: for all matches.
        many: next, where at least ``ENOUGH`` are left then.
        few: next, where fewer are left.
    """

    first: tuple[str, ...]
    many: tuple[str, ...]
    few: tuple[str, ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """Every stage that can run, in order, each once."""
        return tuple(dict.fromkeys(("ratio", *self.first, *self.many, *self.few, "minimum")))


PRESETS = {
    # What the published correspondences were cleaned with, and the paper's revised numbers come from.
    "published": Preset(
        first=("angle", "scale", "colour", "duplicate"),
        many=("homography",),
        few=("direction", "neighbour_garment", "neighbour_person"),
    ),
    # What §3.1 describes.
    "paper": Preset(
        first=("angle", "scale", "duplicate"),
        many=("homography",),
        few=("homography",),
    ),
}


def _run(stages: tuple[str, ...], matches: Matches, left: np.ndarray, width: int) -> dict[str, np.ndarray]:
    after = {}
    for stage in stages:
        left = left[STAGES[stage](matches[left], width)]
        after[stage] = left
    return after


def survivors(matches: Matches, width: int, preset: Preset) -> dict[str, np.ndarray]:
    """Run a preset's filters on the matches of one region.

    Args:
        matches: N matches after the ratio test.
        width: of the pictures, in pixels.
        preset: which filters.

    Returns:
        A stage's name -> indices into ``matches`` of those left after it, for ``ratio`` (all N) and then each stage
        that ran, in order. The last is ``minimum``: the result.
    """
    everyone = np.arange(len(matches))
    first = _run(preset.first, matches, everyone, width)
    left = first[preset.first[-1]]
    then = preset.many if len(left) >= ENOUGH else preset.few
    return {"ratio": everyone, **first, **_run((*then, "minimum"), matches, left, width)}
