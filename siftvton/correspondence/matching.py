"""A photo pair -> its correspondences (paper §3.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from siftvton.correspondence import filters, sift
from siftvton.correspondence.correspondences import Correspondences, Frame
from siftvton.correspondence.regions import Region, densepose_labels, regions
from siftvton.errors import UsageError

BLACK, WHITE = 0, 255
MARGIN = 96  # pixels that are searched around a region; with 64, one of 129 published matches came out otherwise
OCTAVE_GRID = 32  # the search begins at a multiple of it, so that SIFT's octaves sample the pixels they would anyway


@dataclass(frozen=True, eq=False)
class RegionMatches:
    """What one region's search found.

    Attributes:
        region: its name.
        matches: all that passed the ratio test.
        survivors: what each filter left of them, as :func:`filters.survivors` says.
    """

    region: str
    matches: sift.Matches
    survivors: dict[str, np.ndarray]

    @property
    def counts(self) -> dict[str, int]:
        """A stage's name -> how many matches it left."""
        return {stage: len(indices) for stage, indices in self.survivors.items()}

    @property
    def kept(self) -> sift.Matches:
        """Those that passed every filter."""
        return self.matches[self.survivors["minimum"]]

    @property
    def dropped(self) -> sift.Matches:
        """All others."""
        return self.matches[np.setdiff1d(self.survivors["ratio"], self.survivors["minimum"])]


def painted(picture: np.ndarray, keep: np.ndarray, grey: int) -> np.ndarray:
    """``picture`` (height, width, 3) with the grey level ``grey`` wherever ``keep`` (height, width) is false."""
    return cv2.copyTo(picture, keep.astype(np.uint8), np.full_like(picture, grey))


def detect_in(picture: np.ndarray, keep: np.ndarray, grey: int) -> sift.Detected:
    """What SIFT finds in the picture :func:`painted` all round ``keep``.

    Detection takes nearly all of a pair's time, and time goes with area, so no more is searched than ``keep`` and
    its surroundings. Only key points as wide as ``MARGIN`` feel that the grey ends there.
    """
    if not keep.any():
        return sift.NOTHING
    left, top, width, height = cv2.boundingRect(keep.astype(np.uint8))
    column, row = (max(first - MARGIN, 0) // OCTAVE_GRID * OCTAVE_GRID for first in (left, top))
    crop = np.s_[row : top + height + MARGIN, column : left + width + MARGIN]
    points, descriptors = sift.detect(painted(picture[crop], keep[crop], grey))
    return replace(points, xy=points.xy + np.array([column, row], np.float32)), descriptors


def match_regions(
    person: np.ndarray, garment: np.ndarray, areas: Sequence[Region], preset: filters.Preset, joint: bool = False
) -> list[RegionMatches]:
    """Match a person's photo with a garment's picture, each region for itself.

    Args:
        person: (height, width, 3) uint8, red first.
        garment: (height, width, 3) uint8, red first, of the same size.
        areas: where to look.
        preset: which filters.
        joint: search all regions as one; a match then belongs to the region that both its points lie in.
    """
    assert person.shape == garment.shape, f"pictures of {person.shape} and {garment.shape} share no frame"
    searched = _search_together if joint else _search_apart
    found = zip(areas, searched(person, garment, areas), strict=True)
    return [RegionMatches(area.name, each, filters.survivors(each, person.shape[1], preset)) for area, each in found]


def _search_apart(person: np.ndarray, garment: np.ndarray, areas: Sequence[Region]) -> Iterator[sift.Matches]:
    garments: dict[int, sift.Detected] = {}  # an area that regions share is searched once
    for area in areas:
        of_person = of_garment = sift.NOTHING
        if area.person.any() and area.garment.any():
            of_person = detect_in(person, area.person, BLACK)
            if id(area.garment) not in garments:
                garments[id(area.garment)] = detect_in(garment, area.garment, WHITE)
            of_garment = garments[id(area.garment)]
        yield sift.match(of_person, of_garment)


def _search_together(person: np.ndarray, garment: np.ndarray, areas: Sequence[Region]) -> Iterator[sift.Matches]:
    anywhere = np.any([area.person for area in areas], axis=0), np.any([area.garment for area in areas], axis=0)
    matches = sift.match(detect_in(person, anywhere[0], BLACK), detect_in(garment, anywhere[1], WHITE))
    on_person, on_garment = (
        tuple(np.rint(points.xy).astype(int).T[::-1]) for points in (matches.person, matches.garment)
    )
    for area in areas:
        yield matches[np.flatnonzero(area.person[on_person] & area.garment[on_garment])]


def joined(matches: Sequence[sift.Matches], frame: Frame) -> Correspondences:
    """The matches of all regions, region after region."""
    return Correspondences(
        np.concatenate([each.person.xy for each in matches]).astype(np.float64),
        np.concatenate([each.garment.xy for each in matches]).astype(np.float64),
        frame,
    )


def in_frame(picture: np.ndarray, frame: Frame, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """``picture`` (height, width[, 3]) resized to ``frame`` with OpenCV, bilinear unless said otherwise."""
    return cv2.resize(picture, (frame[1], frame[0]), interpolation=interpolation)


def regions_in_frame(
    frame: Frame,
    *,
    densepose: np.ndarray | None = None,
    agnostic_mask: np.ndarray | None = None,
    parsing: np.ndarray | None = None,
    garment_mask: np.ndarray | None = None,
) -> list[Region]:
    """:func:`regions` from side pictures of any size, as their files hold them.

    Labels are resized to the nearest, masks as grey levels (bilinear), then taken as above 128.
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
    )


def find_correspondences(
    person: np.ndarray,
    garment: np.ndarray,
    *,
    densepose: np.ndarray | None = None,
    agnostic_mask: np.ndarray | None = None,
    parsing: np.ndarray | None = None,
    garment_mask: np.ndarray | None = None,
    frame: Frame = (512, 384),
    preset: str = "published",
    joint: bool = False,
) -> Correspondences:
    """The correspondences of a photo pair: key points, ratio test and filters, region by region.

    Pictures may have any size. What None stands for, :func:`regions` says.

    Args:
        person: (height, width, 3) uint8, red first.
        garment: (height, width, 3) uint8, red first.
        densepose: (height, width, 3) uint8, red first: DensePose's part rendering of the photo.
        agnostic_mask: (height, width) uint8, white where try-on paints the photo.
        parsing: (height, width) uint8, GP-VTON's labels of the garment's parts.
        garment_mask: (height, width) uint8, white on the garment.
        frame: (height, width) in pixels to resize the pictures to first.
        preset: a name in :data:`filters.PRESETS`.
        joint: search all regions as one, as :func:`match_regions` says.

    Raises:
        UsageError: there is no such preset.
    """
    if preset not in filters.PRESETS:
        raise UsageError(f"preset={preset}: allowed are {', '.join(filters.PRESETS)}")
    areas = regions_in_frame(
        frame, densepose=densepose, agnostic_mask=agnostic_mask, parsing=parsing, garment_mask=garment_mask
    )
    found = match_regions(in_frame(person, frame), in_frame(garment, frame), areas, filters.PRESETS[preset], joint)
    return joined([each.kept for each in found], frame)
