"""The regions of a photo pair that are matched: boolean areas of the photo and of the garment's picture.

Torso, arms and legs are matched separately, so that points on a sleeve are never matched to the chest. The category of
the garment tells which of them it covers. If a side picture (DensePose, mask, parsing) is missing, a larger area is
used instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

# DensePose's body parts. Part 1 is the back of the torso, so only part 2, the front, is used.
BODY_PARTS: dict[str, tuple[int, ...]] = {
    "torso": (2,),
    "right_arm": (16, 18, 20, 22),
    "left_arm": (15, 17, 19, 21),
    "right_leg": (7, 9, 11, 13),
    "left_leg": (8, 10, 12, 14),
}
# Labels of GP-VTON's garment parsing by category: the parts of the garment that cover each region. The skirt (13)
# covers both legs. The middle of a dress (5, 13, 24) covers torso and legs.
GARMENT_PARTS: dict[str, dict[str, tuple[int, ...]]] = {
    "upper_body": {"torso": (5, 6, 7), "right_arm": (22,), "left_arm": (21,)},
    "lower_body": {"right_leg": (10, 13), "left_leg": (9, 13)},
    "dresses": {
        "torso": (5, 6, 7, 13, 24),
        "right_arm": (22,),
        "left_arm": (21,),
        "right_leg": (5, 13, 24),
        "left_leg": (5, 13, 24),
    },
}
WHOLE = "whole"  # the only region without DensePose, and the union of all regions in a joint search


@dataclass(frozen=True, eq=False)
class Region:
    """The parts of both pictures that one search for matches uses.

    Attributes:
        name: one of :data:`BODY_PARTS`, or whole.
        person: (height, width) booleans, true inside.
        garment: (height, width) booleans, true inside; regions with the same area share one array.
    """

    name: str
    person: np.ndarray
    garment: np.ndarray


def _part_colours() -> np.ndarray:
    """(25, 3) uint8, red first: black for the background, then OpenCV's PARULA colour at ⌊i·255/24⌋ for part i."""
    parts = np.arange(25) * 255 // 24
    colours = cv2.applyColorMap(parts.astype(np.uint8).reshape(-1, 1), cv2.COLORMAP_PARULA)[:, 0, ::-1]
    colours[0] = 0
    return colours


PART_COLOURS = _part_colours()
UNKNOWN = 255


def densepose_labels(picture: np.ndarray) -> np.ndarray:
    """The body part at each pixel of a DensePose rendering: the part with the nearest colour.

    Args:
        picture: (height, width, 3) uint8, red first, from a PNG or a JPEG.

    Returns:
        (height, width) uint8: 0 for background, 1 to 24 as DensePose counts.
    """
    four_bytes = cv2.cvtColor(picture, cv2.COLOR_RGB2BGRA)  #                           (height, width, 4)
    codes = four_bytes.view("<u4")[:, :, 0].astype(np.intp) & 0xFFFFFF  #               (height, width): 0xRRGGBB
    label_of = _known_labels()
    labels = label_of.take(codes)
    unknown = labels == UNKNOWN
    if unknown.any():
        new = np.unique(codes[unknown])
        colours = np.stack([new >> 16, new >> 8 & 255, new & 255], axis=1)  #           (colours, 3)
        label_of[new] = _nearest_part(colours.astype(np.float32))
        labels[unknown] = label_of[codes[unknown]]
    return labels


@cache
def _known_labels() -> np.ndarray:
    """(2²⁴,) uint8: the label of each colour code, ``UNKNOWN`` until a picture contains the colour.

    The table is kept between pictures: a JPEG has thousands of colours, and most occur in the next one again.
    """
    return np.full(1 << 24, UNKNOWN, np.uint8)


def _nearest_part(colours: np.ndarray) -> np.ndarray:
    """(N,) labels of (N, 3) float32 colours; exact, since float32 holds whole numbers of this size exactly."""
    parts = PART_COLOURS.astype(np.float32)
    # |colour|² is left out of the squared distance: it is the same for all parts.
    return ((parts**2).sum(axis=1) - 2 * colours @ parts.T).argmin(axis=1)


def regions(
    person_shape: tuple[int, int],
    garment_shape: tuple[int, int],
    *,
    body: np.ndarray | None = None,
    agnostic: np.ndarray | None = None,
    parts: np.ndarray | None = None,
    garment: np.ndarray | None = None,
    category: str = "upper_body",
) -> list[Region]:
    """The regions to match, in the order of the published files; then the legs.

    On the photo, a region is a body part inside the agnostic mask. Without DensePose there is one region, the agnostic
    mask; without the mask, it is the whole photo. On the garment's picture, a region is the garment part that covers
    the body part. Without parsing, every region uses the garment's mask; without the mask, the whole picture.

    Args:
        person_shape: (height, width) of the photo.
        garment_shape: (height, width) of the garment's picture.
        body: (height, width) DensePose labels of the photo.
        agnostic: (height, width) booleans of the photo, true where try-on repaints it.
        parts: (height, width) parsing labels of the garment's picture.
        garment: (height, width) booleans, true on the garment.
        category: the garment's category, one of :data:`GARMENT_PARTS`.
    """
    labels = GARMENT_PARTS[category]
    if agnostic is None:
        agnostic = np.ones(person_shape, bool)
    if garment is None:
        garment = np.ones(garment_shape, bool)
    for mask, shape in (
        (body, person_shape),
        (agnostic, person_shape),
        (parts, garment_shape),
        (garment, garment_shape),
    ):
        assert mask is None or mask.shape == shape, f"a mask has shape {mask.shape}, its picture {shape}"
    assert agnostic.dtype == garment.dtype == bool, "masks must be boolean arrays"

    if body is None:
        return [Region(WHOLE, agnostic, garment if parts is None else _among(parts, sum(labels.values(), ())))]
    return [
        Region(
            name,
            person=_among(body, BODY_PARTS[name]) & agnostic,
            garment=garment if parts is None else _among(parts, labels[name]),
        )
        for name in labels
    ]


def _among(labels: np.ndarray, chosen: tuple[int, ...]) -> np.ndarray:
    """(height, width) booleans: whether each of the labels 0 to 255 (height, width) is among the chosen ones."""
    table = np.zeros(256, np.uint8)
    table[list(chosen)] = True
    return cv2.LUT(labels.astype(np.uint8, copy=False), table).view(bool)
