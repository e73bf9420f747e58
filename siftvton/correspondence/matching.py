"""A photo pair -> its correspondences (paper §3.1): search in each region, filters, and the matches of all regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from siftvton.correspondence import filters
from siftvton.correspondence.correspondences import Correspondences, Frame
from siftvton.correspondence.key_points import KeyPointMatches, KeyPoints
from siftvton.correspondence.matchers import Matcher
from siftvton.correspondence.regions import WHOLE, Region, densepose_labels, regions
from siftvton.correspondence.sift import Sift
from siftvton.errors import UsageError

SIFT = Sift()


@dataclass(frozen=True, eq=False)
class RegionMatches:
    """The matches of one region before and after the filters.

    Attributes:
        region: the region's name.
        matches: all matches that the matcher found.
        survivors: a stage's name -> indices into ``matches`` of those left after it (:func:`filters.survivors`).
    """

    region: str
    matches: KeyPointMatches
    survivors: dict[str, np.ndarray]

    @property
    def counts(self) -> dict[str, int]:
        """A stage's name -> the number of matches left after it."""
        return {stage: len(indices) for stage, indices in self.survivors.items()}

    @property
    def kept(self) -> KeyPointMatches:
        """The matches that passed every filter."""
        return self.matches[self.survivors["minimum"]]

    @property
    def dropped(self) -> KeyPointMatches:
        """The matches that a filter dropped."""
        return self.matches[np.setdiff1d(self.survivors["ratio"], self.survivors["minimum"])]


def match_regions(
    person: np.ndarray,
    garment: np.ndarray,
    areas: Sequence[Region],
    preset: filters.Preset,
    joint: bool = False,
    matcher: Matcher = SIFT,
) -> list[RegionMatches]:
    """Match a person's photo with a garment's picture region by region, and filter each region's matches.

    Args:
        person: (height, width, 3) uint8, red first.
        garment: (height, width, 3) uint8, red first, of the same size.
        areas: the regions to search.
        preset: the filters.
        joint: search all regions as one area; a match then belongs to the region that contains both its points.
        matcher: what searches, e.g. :func:`siftvton.correspondence.matchers.matcher` of a name.
    """
    assert person.shape == garment.shape, f"the pictures differ in shape: {person.shape} and {garment.shape}"
    search = _joint_search if joint else _search
    found = search(person, garment, areas, matcher)
    return [
        RegionMatches(area.name, each, filters.survivors(each, person.shape[1], preset))
        for area, each in zip(areas, found, strict=True)
    ]


def _search(
    person: np.ndarray, garment: np.ndarray, areas: Sequence[Region], matcher: Matcher
) -> Sequence[KeyPointMatches]:
    """The matcher's result for each region, checked against the protocol."""
    found = matcher.match(person, garment, areas)
    assert len(found) == len(areas), f"the matcher gave {len(found)} results for {len(areas)} areas"
    for each in found:
        assert _are_inside(each.person, person), "the matcher gave a point outside the photo"
        assert _are_inside(each.garment, garment), "the matcher gave a point outside the garment's picture"
    return found


def _are_inside(points: KeyPoints, picture: np.ndarray) -> bool:
    """Whether all points are finite and inside the picture."""
    height, width = picture.shape[:2]
    return bool(((points.xy >= -0.5) & (points.xy <= [width - 0.5, height - 0.5])).all())


def _joint_search(
    person: np.ndarray, garment: np.ndarray, areas: Sequence[Region], matcher: Matcher
) -> list[KeyPointMatches]:
    """The matches of each region, from one search in the union of all regions."""
    union = Region(
        WHOLE,
        person=np.any([area.person for area in areas], axis=0),
        garment=np.any([area.garment for area in areas], axis=0),
    )
    (found,) = _search(person, garment, [union], matcher)
    return [found.within(area) for area in areas]


def joined(matches: Sequence[KeyPointMatches], frame: Frame) -> Correspondences:
    """The matches of all regions as one set, in the order of the regions."""
    return Correspondences(
        np.concatenate([each.person.xy for each in matches]).astype(np.float64),
        np.concatenate([each.garment.xy for each in matches]).astype(np.float64),
        frame,
    )


def in_frame(picture: np.ndarray, frame: Frame, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """``picture`` (height, width[, 3]) resized to ``frame`` with OpenCV, bilinear by default."""
    if picture.shape[:2] == frame:
        return picture
    return cv2.resize(picture, (frame[1], frame[0]), interpolation=interpolation)


def regions_in_frame(
    frame: Frame,
    *,
    densepose: np.ndarray | None = None,
    agnostic_mask: np.ndarray | None = None,
    parsing: np.ndarray | None = None,
    garment_mask: np.ndarray | None = None,
    category: str = "upper_body",
) -> list[Region]:
    """:func:`regions` from side pictures of any size, as they are in their files.

    Labels are resized by nearest neighbour. Masks are resized as grey levels (bilinear) and are true above 128.
    """

    def white(grey: np.ndarray | None) -> np.ndarray | None:
        return None if grey is None else in_frame(grey, frame) > 128

    def nearest(labels: np.ndarray | None) -> np.ndarray | None:
        return None if labels is None else in_frame(labels, frame, cv2.INTER_NEAREST)

    rendering = nearest(densepose)
    return regions(
        frame,
        frame,
        body=None if rendering is None else densepose_labels(rendering),
        agnostic=white(agnostic_mask),
        parts=nearest(parsing),
        garment=white(garment_mask),
        category=category,
    )


def find_correspondences(
    person: np.ndarray,
    garment: np.ndarray,
    *,
    densepose: np.ndarray | None = None,
    agnostic_mask: np.ndarray | None = None,
    parsing: np.ndarray | None = None,
    garment_mask: np.ndarray | None = None,
    category: str = "upper_body",
    frame: Frame = (512, 384),
    preset: str = "published",
    joint: bool = False,
    matcher: Matcher = SIFT,
) -> Correspondences:
    """Find the correspondences of a photo pair: search and filters, region by region.

    Pictures can have any size. :func:`regions` describes what replaces a side picture that is None.

    Args:
        person: (height, width, 3) uint8, red first.
        garment: (height, width, 3) uint8, red first.
        densepose: (height, width, 3) uint8, red first: DensePose's rendering of the body parts on the photo.
        agnostic_mask: (height, width) uint8, white where try-on repaints the photo.
        parsing: (height, width) uint8, GP-VTON's labels of the garment's parts.
        garment_mask: (height, width) uint8, white on the garment.
        category: ``upper_body``, ``lower_body`` or ``dresses``: which parts of the body the garment covers.
        frame: (height, width) in pixels; the pictures are resized to it before the search.
        preset: a name in :data:`filters.PRESETS`.
        joint: search all regions as one area, as in :func:`match_regions`.
        matcher: what searches, e.g. :func:`siftvton.correspondence.matchers.matcher` of a name.

    Returns:
        The matches in pixels of ``frame``, in the order of the regions.

    Raises:
        UsageError: no preset has this name.
    """
    if preset not in filters.PRESETS:
        raise UsageError(f"preset={preset} is not allowed; use one of: {', '.join(filters.PRESETS)}")
    areas = regions_in_frame(
        frame,
        densepose=densepose,
        agnostic_mask=agnostic_mask,
        parsing=parsing,
        garment_mask=garment_mask,
        category=category,
    )
    found = match_regions(
        in_frame(person, frame), in_frame(garment, frame), areas, filters.PRESETS[preset], joint, matcher
    )
    return joined([each.kept for each in found], frame)
