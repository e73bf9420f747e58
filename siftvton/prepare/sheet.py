"""Draw prepared persons and garments, so that faults can be seen before anything else is done with them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from siftvton.data.layouts.polarity import MID_GREY, is_white
from siftvton.drawing import contact_sheet, with_densepose, with_mask
from siftvton.prepare.garment import PreparedGarment
from siftvton.prepare.joints import Joints
from siftvton.prepare.labels import CIHP_COLOURS
from siftvton.prepare.person import PreparedPerson
from siftvton.prepare.shapes import bones

# The limbs; right and left are the person's own, and have colours of their own, so that exchanged sides are seen.
MIDDLE, RIGHT, LEFT = (255, 200, 0), (230, 40, 40), (40, 90, 255)  # red first
CHAINS = (
    (MIDDLE, ("nose", "neck")),
    (RIGHT, ("neck", "right_shoulder", "right_elbow", "right_wrist")),
    (LEFT, ("neck", "left_shoulder", "left_elbow", "left_wrist")),
    (RIGHT, ("neck", "right_hip", "right_knee", "right_ankle")),
    (LEFT, ("neck", "left_hip", "left_knee", "left_ankle")),
)
OPACITY = 0.55  # of the parsing's colours
GARMENTS = 5  # in a row


def person_tiles(person: PreparedPerson, name: str) -> tuple[list[np.ndarray], list[str]]:
    """Return five pictures of a person and their captions: joints, parsing, DensePose, mask and agnostic picture."""
    unknown = np.full_like(person.photo, MID_GREY)
    sides = {
        "joints": None if person.joints is None else with_joints(person.photo, person.joints),
        "parsing": None if person.parsing is None else with_parsing(person.photo, person.parsing),
        "DensePose": None if person.densepose is None else with_densepose(person.photo, person.densepose),
        "mask": with_mask(person.photo, is_white(person.mask)),
        "agnostic": person.agnostic,
    }
    tiles = [unknown if picture is None else picture for picture in sides.values()]
    captions = [kind if picture is not None else f"no {kind}" for kind, picture in sides.items()]
    return tiles, [f"{name}: {captions[0]}", *captions[1:]]


def person_sheet(persons: Sequence[tuple[str, PreparedPerson]]) -> np.ndarray:
    """Draw a row for each named person; (height, width, 3) uint8, red first."""
    rows, captions = zip(*(person_tiles(person, name) for name, person in persons), strict=True)
    return contact_sheet(rows, captions)


def garment_sheet(garments: Sequence[tuple[str, PreparedGarment]]) -> np.ndarray:
    """Draw each named garment with its mask; (height, width, 3) uint8, red first."""
    tiles = [with_mask(garment.picture, is_white(garment.mask)) for _, garment in garments]
    names = [name for name, _ in garments]
    starts = range(0, len(tiles), GARMENTS)
    return contact_sheet(
        [tiles[start : start + GARMENTS] for start in starts], [names[start : start + GARMENTS] for start in starts]
    )


def with_joints(photo: np.ndarray, joints: Joints) -> np.ndarray:
    """Draw the joints over the photo: right limbs red, left limbs blue."""
    drawn, thick = photo.copy(), max(2, len(photo) // 150)
    places = {name: (round(x), round(y)) for name, (x, y) in joints.points.items()}
    for colour, chain in CHAINS:
        for start, end in bones(joints, *chain):
            cv2.line(drawn, places[start], places[end], colour, thick, cv2.LINE_AA)
    for place in places.values():
        cv2.circle(drawn, place, 2 * thick, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(drawn, place, 2 * thick, (0, 0, 0), 1, cv2.LINE_AA)
    return drawn


def with_parsing(photo: np.ndarray, parsing: np.ndarray) -> np.ndarray:
    """Blend the colours of CIHP's labels over the photo; the background stays as it is."""
    mixed = cv2.addWeighted(photo, 1 - OPACITY, CIHP_COLOURS[parsing], OPACITY, 0)
    return np.where(parsing[:, :, None] > 0, mixed, photo)
