"""A garment's picture -> what the network needs: the picture in the network's proportions, and the garment's mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from siftvton.data.layouts.polarity import is_white
from siftvton.data.sides import garment_faults
from siftvton.errors import InputError
from siftvton.prepare.finder import Finder
from siftvton.prepare.framing import VITONHD_SIZE, Framing, border_colour, border_pixels, box_of
from siftvton.prepare.labels import CIHP

WHITE = 255
PLAIN, PLAIN_SHARE = 16, 0.95  # levels; a plain background has this share of its border so close to its colour
LIGHT = 160  # lowest level of a light background
NEAR, NEARER = 8, 2  # levels; how far the background's pixels may be from its colour
RIM = 0.02  # share of the picture's shorter side; what is lost between the two is a shadow's rim if it is narrower
SPECK = 0.002  # share of the picture; smaller areas are dust or shadows
SMALLEST_GARMENT = 0.01  # share of the picture
CUT_OFF = 0.1  # share of an edge of the picture that a garment may touch
MORE = 2  # a picture is first shrunk to this multiple of the prepared one, which leaves room around the garment
MARGIN = 0.04  # space around the garment, as a share of its longer side
PERSON_LABELS = [
    CIHP[name] for name in ("hair", "torso_skin", "face", "left_arm", "right_arm", "left_leg", "right_leg")
]
WORN = 0.03  # share of the picture; with more skin and hair, the garment is worn
REMEDY = "give a picture of the garment alone, flat, on a light background"


@dataclass(frozen=True, eq=False)
class PreparedGarment:
    """What is known of a garment.

    Attributes:
        picture: (height, width, 3) uint8, red first.
        mask: (height, width) uint8, 255 on the garment, else 0.
        remarks: sentences that the user should know.
    """

    picture: np.ndarray
    mask: np.ndarray
    remarks: tuple[str, ...]


def prepare_garment(
    picture: np.ndarray,
    mask: np.ndarray | None = None,
    finder: Finder | None = None,
    largest: tuple[int, int] = VITONHD_SIZE,
) -> PreparedGarment:
    """Find the garment in its picture, and give the picture the network's proportions.

    Args:
        picture: (height, width, 3) or (height, width, 4) uint8; with four channels, the last one is the opacity, which
            is the garment's mask, and the picture is put on white.
        mask: (height, width) uint8 of the picture's size, 255 on the garment; None: it is found by the background.
        finder: finds persons, to refuse a garment that is worn and has no mask; None: this is not checked.
        largest: (height, width) of the largest prepared picture, see :class:`~siftvton.prepare.framing.Framing`.

    Raises:
        InputError: the garment cannot be told from its background, or is worn. The message names no file.
    """
    opacity = picture[:, :, 3] if picture.shape[2] == 4 and not is_white(picture[:, :, 3]).all() else None
    longest = MORE * max(largest)
    picture = _shrunk(on_white(picture), longest)
    if mask is None and finder is not None and _is_worn(picture, finder):
        raise InputError(f"shows a person; {REMEDY}, or its mask (cloth-mask)")
    mask = opacity if mask is None else mask
    garment = _found(picture) if mask is None else is_white(_shrunk(mask, longest))
    box, grey = box_of(garment), garment.astype(np.uint8) * 255
    if box is None or garment.mean() < SMALLEST_GARMENT:
        raise InputError(f"shows no garment (the mask is white in {garment.mean():.1%} of the picture); {REMEDY}")
    for fault in garment_faults(picture, garment_mask=grey):
        raise fault.of(Path(fault.kind))
    left, top, right, bottom = box
    space = MARGIN * max(right - left, bottom - top)
    framing = Framing.around(picture.shape[:2], (left - space, top - space, right + space, bottom + space), largest)
    return PreparedGarment(
        framing.apply(picture, border_colour(picture)),
        is_white(framing.apply(grey, 0)).astype(np.uint8) * 255,
        tuple(_cut_off(garment)),
    )


def on_white(picture: np.ndarray) -> np.ndarray:
    """Put a picture with opacity, (height, width, 4) uint8, on white; a picture without it stays as it is."""
    if picture.shape[2] == 3:
        return picture
    opacity = picture[:, :, 3:].astype(np.float32) / 255
    return np.rint(picture[:, :, :3] * opacity + WHITE * (1 - opacity)).astype(np.uint8)


def _shrunk(picture: np.ndarray, longest: int) -> np.ndarray:
    """Return the picture with a longer side of at most ``longest`` pixels."""
    scale = longest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def garment_area(picture: np.ndarray) -> np.ndarray:
    """Fill the background from the border; return what is left, (height, width) booleans.

    Args:
        picture: (height, width, 3) uint8, with a plain background.
    """
    colour = np.median(border_pixels(picture), axis=0)
    distance = np.abs(picture.astype(np.int16) - colour.astype(np.int16)).max(axis=2)
    garment = _without_specks(~_reached_from_border(distance <= NEAR))
    noise = np.percentile(border_pixels(distance), 99)
    if noise > NEARER:
        return garment
    # If the background flowed into a garment that is nearly as light, the garment is what a careful filling leaves.
    careful = _without_specks(~_reached_from_border(distance <= NEARER))
    rim = np.ones((1 + round(RIM * min(garment.shape)),) * 2, np.uint8)
    return careful if cv2.erode((careful & ~garment).astype(np.uint8), rim).any() else garment


def _found(picture: np.ndarray) -> np.ndarray:
    """Return the garment's area if the background is light and plain.

    Raises:
        InputError: it is not, so the garment cannot be told from it.
    """
    border = border_pixels(picture).astype(np.int16)
    colour = np.median(border, axis=0)
    plain = (np.abs(border - colour).max(axis=1) <= PLAIN).mean()
    if plain < PLAIN_SHARE:
        raise InputError(
            f"has no plain background ({1 - plain:.0%} of its border has another colour), or is worn or cut off; "
            f"{REMEDY}, or its mask (cloth-mask)"
        )
    if colour.min() < LIGHT:
        raise InputError(
            f"has a dark or coloured background ({', '.join(f'{level:.0f}' for level in colour)} in red, green, blue); "
            f"{REMEDY}, or its mask (cloth-mask)"
        )
    return garment_area(picture)


def _is_worn(picture: np.ndarray, finder: Finder) -> bool:
    """Whether models find both a person and the person's skin or hair; one model alone may mistake a flat garment."""
    if not finder.persons(picture):
        return False
    parsing = finder.parsing(picture)
    return parsing is not None and bool(np.isin(parsing, PERSON_LABELS).mean() > WORN)


def _cut_off(garment: np.ndarray) -> Iterator[str]:
    """Yield a remark if the garment reaches an edge of the picture."""
    edges = {"top": garment[0], "bottom": garment[-1], "left": garment[:, 0], "right": garment[:, -1]}
    touched = [name for name, edge in edges.items() if edge.mean() > CUT_OFF]
    if touched:
        yield f"the garment is cut off at the {' and '.join(touched)} of its picture; if a person wears it, {REMEDY}"


def _reached_from_border(near: np.ndarray) -> np.ndarray:
    """Return the connected areas of the booleans ``near`` that reach the picture's border."""
    _, areas = cv2.connectedComponents(near.astype(np.uint8), connectivity=4)
    reached = np.zeros(int(areas.max()) + 1, bool)
    reached[border_pixels(areas)] = True
    reached[0] = False
    return reached[areas]


def _without_specks(garment: np.ndarray) -> np.ndarray:
    """Return the connected areas that are not small."""
    _, areas, sizes, _ = cv2.connectedComponentsWithStats(garment.astype(np.uint8), connectivity=8)
    large = sizes[:, cv2.CC_STAT_AREA] >= SPECK * garment.size
    large[0] = False
    return large[areas]
