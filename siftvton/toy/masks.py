"""Kinds of agnostic masks for the persons of the toy world, to measure how much the kind of a mask matters."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from siftvton.data.augment import ItemPictures
from siftvton.data.dataset import TryOnDataset, resized, resized_mask
from siftvton.data.layouts.base import AGNOSTIC_MASK, IMAGE, PARSING, POSE, Split
from siftvton.data.layouts.polarity import is_white
from siftvton.data.pairs import Pair
from siftvton.draws import numpy_generator
from siftvton.errors import InputError
from siftvton.files import read_grey, read_image, read_labels
from siftvton.prepare.joints import Joints, largest, read_openpose
from siftvton.prepare.labels import CIHP
from siftvton.prepare.mask import agnostic_mask, agnostic_picture, grown

MOVE = 4 / 1024  # how far a joint is moved, as a share of the photo's height: 4 pixels of 1024
GROWTH = 20 / 1024  # how far the garment's outline is grown, as a share of the photo's height: 20 pixels of 1024


@dataclass(frozen=True, eq=False)
class PersonSides:
    """The files that masks are made from.

    Attributes:
        mask: (height, width) bool, the world's own mask.
        joints: in pixels of the photo.
        parsing: (height, width) uint8, labels in CIHP's numbers.
    """

    mask: np.ndarray
    joints: Joints
    parsing: np.ndarray


@dataclass(frozen=True)
class Kind:
    """A kind of mask.

    Attributes:
        text: describes the kind, for readers of the table.
        draw: makes the mask, (height, width) bool, from a person's files and a random generator.
    """

    text: str
    draw: Callable[[PersonSides, np.random.Generator], np.ndarray]


def _drawn(sides: PersonSides, _: np.random.Generator) -> np.ndarray:
    return agnostic_mask(sides.joints, sides.parsing, sides.mask.shape[:2]).mask > 0


def _half_size(sides: PersonSides, _: np.random.Generator) -> np.ndarray:
    height, width = sides.mask.shape
    half = (height // 2, width // 2)
    joints = sides.joints.moved(lambda places: places * (half[1] / width, half[0] / height))
    parsing = cv2.resize(sides.parsing, half[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    drawn = agnostic_mask(joints, parsing, half).mask
    return cv2.resize(drawn, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0


def _joints_moved(sides: PersonSides, draw: np.random.Generator) -> np.ndarray:
    def moved(places: np.ndarray) -> np.ndarray:
        angles = draw.uniform(0, 2 * np.pi, len(places))
        return places + MOVE * len(sides.mask) * np.stack((np.cos(angles), np.sin(angles)), axis=1)

    return _drawn(replace(sides, joints=sides.joints.moved(moved)), draw)


def _outline_grown(sides: PersonSides, _: np.random.Generator) -> np.ndarray:
    return grown(sides.parsing == CIHP["upper_clothes"], GROWTH * len(sides.mask))


def _box(sides: PersonSides, _: np.random.Generator) -> np.ndarray:
    rows, columns = np.nonzero(sides.mask)
    box = np.zeros_like(sides.mask)
    box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return box


REFERENCE, DRAWN = "reference", "drawn"
KINDS = {
    REFERENCE: Kind("the world's own mask, as in the training of the network", lambda sides, _: sides.mask),
    DRAWN: Kind("drawn from joints and parsing, as scripts/prepare.py does", _drawn),
    "half_size": Kind("drawn from joints and parsing in a photo of half the size, then enlarged", _half_size),
    "joints_moved": Kind(
        "drawn from joints and parsing, each joint moved in a random direction by 4 pixels of a photo of 1024×768",
        _joints_moved,
    ),
    "outline_grown": Kind("the outline of the worn garment, grown by 20 pixels of a photo of 1024×768", _outline_grown),
    "box": Kind("the box around the reference", _box),
}


def mask_of(kind: str, split: Split, person: str, seed: int) -> np.ndarray:
    """Make the mask of a kind for a person.

    Args:
        kind: one of ``KINDS``.
        split: a split of the toy world.
        person: the file name of the photo.
        seed: seed for the moved joints.

    Returns:
        (height, width) bool of the photo's size, true where try-on paints.

    Raises:
        InputError: a file is missing or damaged, or no mask can be drawn from the joints.
    """
    pose, parsing = _required(split, POSE, person), _required(split, PARSING, person)
    sides = PersonSides(
        mask=is_white(read_grey(split.require(AGNOSTIC_MASK, person))),
        joints=largest(read_openpose(pose)),
        parsing=read_labels(parsing),
    )
    if sides.parsing.shape != sides.mask.shape:
        raise InputError(f"{parsing}: its size is not that of the agnostic mask; make the world again")
    try:
        return KINDS[kind].draw(sides, numpy_generator(seed, person, kind))
    except InputError as error:
        raise InputError(f"{pose}: {error}") from error


def _required(split: Split, kind: str, person: str) -> Path:
    path = split.find(kind, person)
    if path is None:
        raise InputError(
            f"{split.candidates(kind, person)[0]}: no such file; run scripts/make_toy_data.py again with the keys of "
            "this world, which adds what is missing"
        )
    return path


class MaskedDataset(TryOnDataset):
    """Items with another kind of mask: try-on paints there, and the agnostic picture is grey there."""

    def __init__(self, split: Split, pairs: list[Pair], height: int, width: int, *, kind: str, seed: int) -> None:
        """Take the arguments of ``TryOnDataset``, the kind of mask, and the seed for the moved joints."""
        super().__init__(split, pairs, height, width, seed=seed)
        self.kind = kind

    def read(self, pair: Pair) -> ItemPictures:
        pictures = super().read(pair)
        photo = read_image(self.split.require(IMAGE, pair.person))
        mask = mask_of(self.kind, self.split, pair.person, self.seed).astype(np.uint8) * 255
        return replace(
            pictures,
            agnostic=resized(agnostic_picture(photo, mask), self.size),
            paint_mask=resized_mask(mask, self.size),
        )
