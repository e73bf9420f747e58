"""The filters that remove wrong matches: those of paper §3.1 and those that the published correspondences add.

Each filter takes aligned arrays of N matches and returns (N,) booleans, true for a match to keep. Thresholds are
parameters. :func:`survivors` runs the filters of a preset.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from siftvton.correspondence.key_points import KeyPointMatches
from siftvton.correspondence.ransac import largest_consensus

ENOUGH = 15  # with so many matches or more, a preset's stages `many` run, otherwise its stages `few`
HOMOGRAPHY_MINIMUM = 4  # fewer matches do not determine a homography
MINIMUM = 2  # a region that ends with fewer matches keeps none


def angle(person: np.ndarray, garment: np.ndarray, threshold: float = 45.0) -> np.ndarray:
    """Keep matches whose orientations (N,) differ by less than ``threshold``, around the circle; all in degrees."""
    difference = np.abs(person.astype(np.float64) - garment) % 360
    return np.minimum(difference, 360 - difference) < threshold


def scale(person: np.ndarray, garment: np.ndarray, ratio: float = 2.25) -> np.ndarray:
    """Keep matches whose sizes (N,), in pixels, differ by a factor of at most ``ratio``, whichever is larger."""
    quotient = person.astype(np.float64) / garment
    return (1 / ratio <= quotient) & (quotient <= ratio)


def _hsv(rgb: np.ndarray) -> np.ndarray:
    """(N, 3) hue 0 to 179, saturation and value 0 to 255, from (N, 3) uint8, red first."""
    if len(rgb) == 0:
        return np.zeros((0, 3), int)  # OpenCV refuses an empty picture
    return cv2.cvtColor(rgb[:, None], cv2.COLOR_RGB2HSV)[:, 0].astype(int)


def colour(
    person: np.ndarray,
    garment: np.ndarray,
    value: float = 0.4 * 255,
    grey: float = 0.1 * 255,
    dark: float = 0.2 * 255,
    hue: float = 15.0,
) -> np.ndarray:
    """Keep matches of similar colour, with tolerance for light and shadow on a worn garment.

    Args:
        person: (N, 3) uint8, red first.
        garment: (N, 3) uint8, red first.
        value: largest difference of the values, which are 0 to 255.
        grey: hues are ignored if both saturations, 0 to 255, are below this.
        dark: hues are ignored if both values, 0 to 255, are below this.
        hue: the hues must differ by less than this around the circle, in OpenCV's units of 2°.
    """
    h_p, s_p, v_p = _hsv(person).T
    h_g, s_g, v_g = _hsv(garment).T
    both_grey = np.maximum(s_p, s_g) < grey
    both_dark = np.maximum(v_p, v_g) < dark
    same_hue = np.minimum(np.abs(h_p - h_g), 180 - np.abs(h_p - h_g)) < hue
    return (np.abs(v_p - v_g) <= value) & (both_grey | both_dark | same_hue)


def duplicate(person: np.ndarray, garment: np.ndarray, radius: float = 2**0.5) -> np.ndarray:
    """Drop matches that duplicate or contradict a better one.

    Matches are visited from the best to the worst. One is dropped if its person point or its garment point equals that
    of a kept match, or if both its points are closer than ``radius`` to those of a kept match.

    Args:
        person: (N, 2) points in pixels, the best match first.
        garment: (N, 2) points in pixels, aligned.
        radius: distance in pixels.
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
    """Keep the inliers of a homography from person to garment, by RANSAC; none if the points determine no homography.

    Args:
        person: (N, 2) points in pixels.
        garment: (N, 2) points in pixels, aligned.
        threshold: largest error on the garment, in pixels.
        confidence: sampling ends at this probability that at least one sample had no outlier.
    """
    if len(person) < HOMOGRAPHY_MINIMUM:
        return np.zeros(len(person), bool)
    return largest_consensus(person, garment, threshold, confidence)


def direction(person: np.ndarray, garment: np.ndarray, width: int, threshold: float = np.pi / 12) -> np.ndarray:
    """Keep matches whose lines have similar directions if the garment's picture is placed to the right of the photo.

    Args:
        person: (N, 2) points in pixels.
        garment: (N, 2) points in pixels, aligned.
        width: width of the photo, in pixels.
        threshold: a line's direction must differ from the mean slope of the other lines by less than this, in radians.
    """
    if len(person) < 2:
        return np.ones(len(person), bool)  # there is no other line to compare with
    across, down = (garment.astype(np.float64) - person).T
    slope = -down / (across + width)
    mean_of_others = (slope.sum() - slope) / (len(slope) - 1)
    return np.abs(np.arctan(mean_of_others) - np.arctan(slope)) < threshold


def neighbour(here: np.ndarray, there: np.ndarray, ratio: float) -> np.ndarray:
    """Keep matches that are not much farther from their nearest match on the other picture than on this one.

    Args:
        here: (N, 2) points in pixels on the picture that determines which other match is nearest.
        there: (N, 2) points in pixels on the other picture, aligned.
        ratio: the distance there may be at most this many times the distance here.
    """
    if len(here) < 2:
        return np.ones(len(here), bool)  # there is no neighbour to compare with
    here, there = here.astype(np.float64), there.astype(np.float64)
    between = np.linalg.norm(here[:, None] - here[None], axis=2)  # (N, N)
    np.fill_diagonal(between, np.inf)
    nearest = between.argmin(axis=1)  # (N,)
    return np.linalg.norm(there - there[nearest], axis=1) <= ratio * between.min(axis=1)


def _if_measured(
    keep: Callable[[np.ndarray, np.ndarray], np.ndarray], person: np.ndarray | None, garment: np.ndarray | None
) -> np.ndarray | None:
    """Run a filter, or return None if the matcher does not measure what it compares."""
    return None if person is None or garment is None else keep(person, garment)


# A stage's name -> its filter, for matches m in pictures of a width in pixels. It returns (N,) booleans, or None if the
# stage does not run because the matcher does not measure what it needs.
STAGES: dict[str, Callable[[KeyPointMatches, int], np.ndarray | None]] = {
    "angle": lambda m, width: _if_measured(angle, m.person.angle, m.garment.angle),
    "scale": lambda m, width: _if_measured(scale, m.person.size, m.garment.size),
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
    """Names of stages, in their order.

    Attributes:
        first: stages that always run first.
        many: stages that run next if at least ``ENOUGH`` matches are left.
        few: stages that run next if fewer are left.
    """

    first: tuple[str, ...]
    many: tuple[str, ...]
    few: tuple[str, ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """Every stage that can run, in order, without repetition."""
        return tuple(dict.fromkeys(("ratio", *self.first, *self.many, *self.few, "minimum")))


PRESETS = {
    # The filters of the published correspondences, from which the paper's revised numbers come.
    "published": Preset(
        first=("angle", "scale", "colour", "duplicate"),
        many=("homography",),
        few=("direction", "neighbour_garment", "neighbour_person"),
    ),
    # The filters that §3.1 describes.
    "paper": Preset(
        first=("angle", "scale", "duplicate"),
        many=("homography",),
        few=("homography",),
    ),
}


def _run(stages: tuple[str, ...], matches: KeyPointMatches, left: np.ndarray, width: int) -> dict[str, np.ndarray]:
    """A stage's name -> indices into ``matches`` left after it, for the stages that run, starting from ``left``."""
    after = {}
    for stage in stages:
        keep = STAGES[stage](matches[left], width)
        if keep is not None:
            left = after[stage] = left[keep]
    return after


def survivors(matches: KeyPointMatches, width: int, preset: Preset) -> dict[str, np.ndarray]:
    """Run a preset's filters on the matches of one region.

    A stage does not run if it needs a size or an angle that the matcher does not measure.

    Args:
        matches: N matches as the matcher found them; SIFT's have passed the ratio test.
        width: width of the pictures, in pixels.
        preset: the filters.

    Returns:
        A stage's name -> indices into ``matches`` of those left after it: first ``ratio`` (all N), then each stage that
        ran, in order. The last is ``minimum``, the result.
    """
    after = {"ratio": np.arange(len(matches))}
    after |= _run(preset.first, matches, after["ratio"], width)
    left = next(reversed(after.values()))
    then = preset.many if len(left) >= ENOUGH else preset.few
    return after | _run((*then, "minimum"), matches, left, width)
