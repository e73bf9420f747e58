"""Where on the photo and on the garment's picture matches may lie, region by region (boolean arrays in and out).

Torso, right arm and left arm are matched apart, so that a sleeve never answers for the chest. Where a side picture is
missing, a wider area stands in for the region.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

# DensePose parts of the body; part 1 is the back, so the torso is its front.
BODY_PARTS = {"torso": (2,), "right_arm": (16, 18, 20, 22), "left_arm": (15, 17, 19, 21)}
# Labels of GP-VTON's garment parsing.
GARMENT_PARTS = {"torso": (5, 6, 7), "right_arm": (22,), "left_arm": (21,)}
WHOLE = "whole"  # the one region without DensePose


@dataclass(frozen=True, eq=False)
class Region:
    """What one search for matches may use.

    Attributes:
        name: torso, right_arm, left_arm or whole.
        person: (height, width) booleans.
        garment: (height, width) booleans; regions that may use the same area hold the same array.
    """

    name: str
    person: np.ndarray
    garment: np.ndarray


def _part_colours() -> np.ndarray:
    """(25, 3) uint8, red first: black, then part i of 24 in OpenCV's PARULA colour map at ⌊i·255/24⌋."""
    parts = np.arange(25) * 255 // 24
    colours = cv2.applyColorMap(parts.astype(np.uint8).reshape(-1, 1), cv2.COLORMAP_PARULA)[:, 0, ::-1]
    colours[0] = 0
    return colours


PART_COLOURS = _part_colours()
UNKNOWN = 255


def densepose_labels(picture: np.ndarray) -> np.ndarray:
    """The body part that each pixel of a DensePose rendering shows: the one of the nearest colour.

    Args:
        picture: (height, width, 3) uint8, red first, from a PNG or a JPEG.

    Returns:
        (height, width) uint8: 0 for background, 1 to 24 as DensePose counts.
    """
    red, green, blue = np.moveaxis(picture.astype(np.int32), 2, 0)
    codes = red << 16 | green << 8 | blue  #                                            (height, width)
    label_of = _known_labels()
    new = np.unique(codes[label_of[codes] == UNKNOWN])
    colours = np.stack([new >> 16, new >> 8 & 255, new & 255], axis=1)  #               (colours, 3)
    label_of[new] = _nearest_part(colours.astype(np.float32))
    return label_of[codes]


@cache
def _known_labels() -> np.ndarray:
    """(2²⁴,) uint8: a colour's code -> its label, ``UNKNOWN`` until a picture shows it.

    A JPEG has thousands of colours, and the next one mostly the same.
    """
    return np.full(1 << 24, UNKNOWN, np.uint8)


def _nearest_part(colours: np.ndarray) -> np.ndarray:
    """(N, 3) float32 colours -> (N,) labels; exact, as whole numbers of this size are in float32."""
    parts = PART_COLOURS.astype(np.float32)
    return ((parts**2).sum(axis=1) - 2 * colours @ parts.T).argmin(axis=1)  # |colour|² is the same for all parts


def regions(
    person_shape: tuple[int, int],
    garment_shape: tuple[int, int],
    *,
    body: np.ndarray | None = None,
    agnostic: np.ndarray | None = None,
    parts: np.ndarray | None = None,
    garment: np.ndarray | None = None,
) -> list[Region]:
    """The regions to match, in the order of the published files.

    On the person: a body part where the agnostic mask also is. Without DensePose there is one region, the agnostic
    mask; without that, the whole photo. On the garment: the part that covers the body part; without parsing the
    garment's mask, and without that the whole picture, for every region.

    Args:
        person_shape: (height, width) of the photo.
        garment_shape: (height, width) of the garment's picture.
        body: (height, width) DensePose labels of the photo.
        agnostic: (height, width) booleans of the photo, true where try-on paints.
        parts: (height, width) parsing labels of the garment's picture.
        garment: (height, width) booleans, true on the garment.
    """
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
        assert mask is None or mask.shape == shape, f"a mask of {mask.shape} belongs to a picture of {shape}"
    assert agnostic.dtype == garment.dtype == bool, "masks are booleans"

    if body is None:
        labels = sum(GARMENT_PARTS.values(), ())
        return [Region(WHOLE, agnostic, garment if parts is None else np.isin(parts, labels))]
    return [
        Region(
            name,
            person=np.isin(body, BODY_PARTS[name]) & agnostic,
            garment=garment if parts is None else np.isin(parts, GARMENT_PARTS[name]),
        )
        for name in BODY_PARTS
    ]
