"""A garment's picture -> what the network needs: the picture in the network's proportions, and the garment's mask."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from siftvton.data.layouts.polarity import is_white
from siftvton.errors import InputError
from siftvton.prepare.finder import Finder
from siftvton.prepare.framing import VITONHD_SIZE, Framing, border_colour, border_pixels, box_of

WHITE = 255
OPAQUE = 128  # lowest level of transparency's channel that counts as the garment
PLAIN, PLAIN_SHARE = 16, 0.95  # levels; a plain background has this share of its border so close to its colour
LIGHT = 160  # lowest level of a light background
NEAR, NEARER = 8, 2  # levels; how far the background's pixels may be from its colour
FLOODED = 0.9  # if filling at NEAR leaves less than this share of the garment, it flowed into a light garment
SPECK = 0.002  # share of the picture; smaller areas are dust or shadows
SMALLEST_GARMENT = 0.01  # share of the picture
CUT_OFF = 0.1  # share of an edge of the picture that a garment may touch
MARGIN = 0.04  # space around the garment, as a share of its longer side
PERSON_LABELS = (2, 10, 13, 14, 15, 16, 17)  # CIHP's hair, skin of the torso, face, arms and legs
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
        finder: finds persons, to refuse a garment that is worn; this is not checked if it is None or a mask is given.
        largest: (height, width) of the largest prepared picture, see :class:`~siftvton.prepare.framing.Framing`.

    Raises:
        InputError: the garment cannot be told from its background, or is worn. The message names no file.
    """
    opaque = picture[:, :, 3] >= OPAQUE if picture.shape[2] == 4 else None
    picture = on_white(picture)
    if mask is None and finder is not None and _is_worn(picture, finder):
        raise InputError(f"shows a person; {REMEDY}")
    if mask is not None:
        garment = is_white(mask)
    elif opaque is not None and not opaque.all():
        garment = opaque
    else:
        garment = _found(picture)
    box = box_of(garment)
    if box is None or garment.mean() < SMALLEST_GARMENT:
        raise InputError(f"shows no garment (the mask is white in {garment.mean():.1%} of the picture); {REMEDY}")
    remarks = _cut_off(garment)
    left, top, right, bottom = box
    space = MARGIN * max(right - left, bottom - top)
    framing = Framing.around(picture.shape[:2], (left - space, top - space, right + space, bottom + space), largest)
    return PreparedGarment(
        framing.apply(picture, border_colour(picture)),
        np.where(is_white(framing.apply(garment.astype(np.uint8) * 255, 0)), np.uint8(255), np.uint8(0)),
        remarks,
    )


def on_white(picture: np.ndarray) -> np.ndarray:
    """Put a picture with opacity, (height, width, 4) uint8, on white; a picture without it stays as it is."""
    if picture.shape[2] == 3:
        return picture
    opacity = picture[:, :, 3:].astype(np.float32) / 255
    return np.rint(picture[:, :, :3] * opacity + WHITE * (1 - opacity)).astype(np.uint8)


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
    # A white garment on a background that is nearly white: fill again, more carefully.
    careful = _without_specks(~_reached_from_border(distance <= NEARER))
    return careful if garment.sum() < FLOODED * careful.sum() else garment


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
            f"{REMEDY}, or its mask in cloth-mask/"
        )
    if colour.min() < LIGHT:
        raise InputError(
            f"has a dark or coloured background ({', '.join(f'{level:.0f}' for level in colour)} in red, green, blue); "
            f"{REMEDY}, or its mask in cloth-mask/"
        )
    return garment_area(picture)


def _is_worn(picture: np.ndarray, finder: Finder) -> bool:
    """Whether models find both a person and the person's skin or hair; one model alone may mistake a flat garment."""
    if not finder.persons(picture):
        return False
    parsing = finder.parsing(picture)
    return parsing is not None and bool(np.isin(parsing, PERSON_LABELS).mean() > WORN)


def _cut_off(garment: np.ndarray) -> tuple[str, ...]:
    """Return a remark if the garment reaches an edge of the picture."""
    edges = {"top": garment[0], "bottom": garment[-1], "left": garment[:, 0], "right": garment[:, -1]}
    touched = [name for name, edge in edges.items() if edge.mean() > CUT_OFF]
    if not touched:
        return ()
    return (
        f"the garment is cut off at the {' and '.join(touched)} of its picture; if a person wears it there, {REMEDY}",
    )


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
