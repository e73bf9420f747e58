"""Joint augmentation of one training item: its pictures, masks and key points move together.

All functions work on 8-bit pictures at the training size. Flip and placement are combined in one affine map for the
person and one for the garment, so that every picture is resampled only once (bilinear, 0 outside); the same map moves
the points. OpenCV is used because torchvision has neither one affine map with two scales nor an additive shift of
saturation and value, and is an order of magnitude slower here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from siftvton.correspondence import Correspondences
from siftvton.data.layouts.polarity import MID_GREY

PROBABILITY = 0.5  # of the flip, of each placement and of each recolouring
SHIFT = 0.2  # largest shift, as a share of width and height
SCALE = 0.2  # largest change of scale
PERSON_ROTATION, GARMENT_ROTATION = 10.0, 2.0  # largest rotation, degrees
HSV_SHIFT = 5  # largest change of hue, saturation and value in OpenCV's 8-bit units
CONTRAST = (0.7, 1.3)  # α
BRIGHTNESS = (-0.10, 0.02)  # β, as a share of white


@dataclass(frozen=True, eq=False)
class ItemPictures:
    """One item's files at the training size.

    Attributes:
        image, agnostic, densepose, garment: (height, width, 3) uint8, red first.
        paint_mask: (height, width) uint8, white = to paint; edges may be soft.
        worn_mask: (height, width) uint8, white = the garment as worn; None if it was not requested.
        matches: between ``image`` and ``garment``, in pixels of these pictures.
    """

    image: np.ndarray
    agnostic: np.ndarray
    densepose: np.ndarray
    garment: np.ndarray
    paint_mask: np.ndarray
    worn_mask: np.ndarray | None
    matches: Correspondences


@dataclass(frozen=True)
class Placement:
    """Scaling and rotation about the picture's centre, then a shift.

    Attributes:
        shift: to the right and down, as shares of width and height.
        scale: factors of x and y.
        rotation: degrees, clockwise as seen (y points down).
    """

    shift: tuple[float, float]
    scale: tuple[float, float]
    rotation: float


@dataclass(frozen=True)
class AugmentationDraws:
    """The random choices for one item; None: that step is left out.

    Attributes:
        flip: whether person and garment are mirrored.
        person: placement of all pictures of the person.
        garment: placement of the picture of the garment.
        hsv: added to hue, saturation and value of photo, agnostic picture and garment, in OpenCV's 8-bit units.
        contrast: (α, β) of img·α + 255·β for the same three pictures.
    """

    flip: bool
    person: Placement | None
    garment: Placement | None
    hsv: tuple[int, int, int] | None
    contrast: tuple[float, float] | None

    @classmethod
    def draw(cls, generator: torch.Generator) -> AugmentationDraws:
        """Draw all choices, person and garment independently; every call draws the same number of values."""

        def uniform(low: float, high: float) -> float:
            return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()

        def happens() -> bool:
            return uniform(0, 1) < PROBABILITY

        def placement(rotation: float) -> Placement:
            return Placement(
                shift=(uniform(-SHIFT, SHIFT), uniform(-SHIFT, SHIFT)),
                scale=(uniform(1 - SCALE, 1 + SCALE), uniform(1 - SCALE, 1 + SCALE)),
                rotation=uniform(-rotation, rotation),
            )

        flip, place_person, place_garment, shift_hsv, change_contrast = (happens() for _ in range(5))
        person, garment = placement(PERSON_ROTATION), placement(GARMENT_ROTATION)
        hue, saturation, value = torch.randint(-HSV_SHIFT, HSV_SHIFT + 1, (3,), generator=generator).tolist()
        contrast = uniform(*CONTRAST), uniform(*BRIGHTNESS)
        return cls(
            flip,
            person if place_person else None,
            garment if place_garment else None,
            (hue, saturation, value) if shift_hsv else None,
            contrast if change_contrast else None,
        )


def affine_map(flip: bool, placement: Placement | None, height: int, width: int) -> np.ndarray:
    """Return the map of pixel centres under a flip (x → width − 1 − x), followed by a placement.

    Returns:
        (2, 3) float64, to be applied to (x, y, 1).
    """
    linear, offset = np.eye(2), np.zeros(2)
    if flip:
        linear, offset = np.diag([-1.0, 1.0]), np.array([width - 1.0, 0.0])
    if placement is not None:
        angle = np.deg2rad(placement.rotation)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        placed = rotation @ np.diag(placement.scale)
        centre = np.array([width - 1, height - 1]) / 2
        shift = np.array(placement.shift) * (width, height)
        linear, offset = placed @ linear, placed @ (offset - centre) + centre + shift
    return np.column_stack([linear, offset])


def warp(picture: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Move a picture, (height, width[, 3]) uint8, by ``affine`` (2, 3): bilinear, 0 outside the picture."""
    height, width = picture.shape[:2]
    return cv2.warpAffine(
        picture, affine, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )


def move(points: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Move points, (N, 2) pixels (x, y), in the same way as :func:`warp` moves pixels; they may leave the picture."""
    return points @ affine[:, :2].T + affine[:, 2]


def shift_hsv(picture: np.ndarray, hsv: tuple[int, int, int]) -> np.ndarray:
    """Add ``hsv`` to hue (0 to 179, circular), saturation and value (0 to 255, clipped) of an RGB uint8 picture."""
    levels = np.arange(256)
    hue = ((levels + hsv[0]) % 180).astype(np.uint8)
    saturation, value = (np.clip(levels + shift, 0, 255).astype(np.uint8) for shift in hsv[1:])
    table = np.stack([hue, saturation, value], axis=-1)[None]  # (1, 256, 3)
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV), table), cv2.COLOR_HSV2RGB)


def change_contrast(picture: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """Return img·α + 255·β, rounded and clipped to 8 bits."""
    table = np.clip(np.rint(np.arange(256) * alpha + 255 * beta), 0, 255).astype(np.uint8)
    return cv2.LUT(picture, table)


def _recoloured(picture: np.ndarray, draws: AugmentationDraws) -> np.ndarray:
    if draws.hsv is not None:
        picture = shift_hsv(picture, draws.hsv)
    if draws.contrast is not None:
        picture = change_contrast(picture, *draws.contrast)
    return picture


def reset_painted(agnostic: np.ndarray, paint_mask: np.ndarray) -> np.ndarray:
    """Set the region to paint to mid-grey, blended by the mask: agnostic·keep + 128·(1 − keep)."""
    paint = paint_mask[:, :, None].astype(np.float32) / 255
    return np.rint(agnostic + (MID_GREY - agnostic.astype(np.float32)) * paint).astype(np.uint8)


def augment(item: ItemPictures, draws: AugmentationDraws) -> ItemPictures:
    """Apply ``draws`` to an item: flip, placements and colour; then set the agnostic picture's painted region to grey.

    A flip does not swap DensePose's colours of left and right. Outside a moved picture, all values are 0. This
    includes the paint mask, so nothing is painted there. Matches may leave the pictures, see :func:`inside`.
    """
    height, width = item.image.shape[:2]
    person = affine_map(draws.flip, draws.person, height, width)
    garment = affine_map(draws.flip, draws.garment, height, width)

    paint_mask = warp(item.paint_mask, person)
    return ItemPictures(
        image=_recoloured(warp(item.image, person), draws),
        agnostic=reset_painted(_recoloured(warp(item.agnostic, person), draws), paint_mask),
        densepose=warp(item.densepose, person),
        garment=_recoloured(warp(item.garment, garment), draws),
        paint_mask=paint_mask,
        worn_mask=None if item.worn_mask is None else warp(item.worn_mask, person),
        matches=replace(
            item.matches,
            person=move(item.matches.person, person),
            garment=move(item.matches.garment, garment),
        ),
    )


def inside(matches: Correspondences) -> Correspondences:
    """Return the matches with both points inside their pictures: 0 ≤ x < width, 0 ≤ y < height."""
    points = np.stack([matches.person, matches.garment])  # (2, N, 2)
    height, width = matches.frame
    kept = ((points >= 0) & (points < (width, height))).all(axis=(0, 2))
    return replace(matches, person=matches.person[kept], garment=matches.garment[kept])
