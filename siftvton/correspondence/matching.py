"""A photo pair -> its correspondences (paper §3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from siftvton.correspondence import filters, sift
from siftvton.correspondence.correspondences import Correspondences, Frame
from siftvton.correspondence.regions import Region, densepose_labels, regions
from siftvton.errors import UsageError

BLACK, WHITE = 0, 255


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
    return np.where(keep[:, :, None], picture, np.uint8(grey))


def match_regions(
    person: np.ndarray, garment: np.ndarray, areas: Sequence[Region], preset: filters.Preset
) -> list[RegionMatches]:
    """Match a person's photo with a garment's picture, each region for itself.

    Args:
        person: (height, width, 3) uint8, red first.
        garment: (height, width, 3) uint8, red first, of the same size.
        areas: where to look.
        preset: which filters.
    """
    assert person.shape == garment.shape, f"pictures of {person.shape} and {garment.shape} share no frame"
    # Detection takes nearly all the time, so a garment area that regions share is searched once, and a region that is
    # empty on either side not at all.
    garments: dict[int, tuple[sift.KeyPoints, np.ndarray]] = {}
    found = []
    for area in areas:
        of_person = of_garment = sift.NOTHING
        if area.person.any() and area.garment.any():
            of_person = sift.detect(painted(person, area.person, BLACK))
            if id(area.garment) not in garments:
                garments[id(area.garment)] = sift.detect(painted(garment, area.garment, WHITE))
            of_garment = garments[id(area.garment)]
        matches = sift.match(of_person, of_garment)
        found.append(RegionMatches(area.name, matches, filters.survivors(matches, person.shape[1], preset)))
    return found


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

    Raises:
        UsageError: there is no such preset.
    """
    if preset not in filters.PRESETS:
        raise UsageError(f"preset={preset}: allowed are {', '.join(filters.PRESETS)}")
    areas = regions_in_frame(
        frame, densepose=densepose, agnostic_mask=agnostic_mask, parsing=parsing, garment_mask=garment_mask
    )
    found = match_regions(in_frame(person, frame), in_frame(garment, frame), areas, filters.PRESETS[preset])
    return joined([each.kept for each in found], frame)
