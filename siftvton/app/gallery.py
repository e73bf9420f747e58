"""The persons and garments that the page offers, so that it can be tried without a photo of one's own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from siftvton.data.layouts.base import (
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    IMAGE,
    PARSING,
    POSE,
    Split,
)
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.toy.world.write import write_world

MOST = 8  # persons, and garments
BODY = {"pose": POSE, "parsing": PARSING}
TOY_SEED = 0  # seed of the toy gallery; its eight garments have texts, motifs, checks, flowers and plain colours
TOY_SIZE = (512, 384)  # height and width of the toy pictures, pixels


@dataclass(frozen=True)
class Example:
    """A person or a garment.

    Attributes:
        name: its id.
        picture: the path of the photo, or of the garment's picture.
        sides: the paths of the side pictures, by the keywords of :meth:`siftvton.app.tryon.TryOn.person` or
            :meth:`siftvton.app.tryon.TryOn.garment`.
        category: of the garment, or of the garment that the given mask of a person is for.
        body: as ``sides``: what a mask for another category is drawn from.
    """

    name: str
    picture: Path
    sides: dict[str, Path]
    category: str
    body: dict[str, Path]

    def sides_for(self, category: str) -> dict[str, Path]:
        """Return the side pictures of a person who tries on a garment of a category."""
        if category == self.category:
            return self.sides
        return {**{keyword: path for keyword, path in self.sides.items() if keyword != "mask"}, **self.body}


@dataclass(frozen=True)
class Gallery:
    persons: Sequence[Example]
    garments: Sequence[Example]


def toy_gallery(folder: Path) -> Gallery:
    """Draw toy persons and garments into ``folder``, unless they are there already, and return them."""
    height, width = TOY_SIZE
    write_world(folder, train_pairs=1, test_pairs=MOST, seed=TOY_SEED, height=height, width=width, workers=1)
    return gallery_of(VitonHD(folder).split("test"))


def gallery_of(split: Split) -> Gallery:
    """Return the first persons and the first garments of a split's list, from all categories in turn.

    Raises:
        InputError: the list, a photo or the picture of a garment is missing.
    """
    pairs = split.listed()
    persons = _in_turn(dict.fromkeys(pair.person for pair in pairs), split.category)
    garments = _in_turn(sorted({pair.garment for pair in pairs}), split.category)
    return Gallery(
        [_example(split, IMAGE, name, {"densepose": DENSEPOSE, "mask": AGNOSTIC_MASK}) for name in persons],
        [_example(split, GARMENT, name, {"mask": GARMENT_MASK}) for name in garments],
    )


def _in_turn(names: Iterable[str], category: Callable[[str], str]) -> list[str]:
    """Return up to ``MOST`` names, one of each category after the other; within a category they keep their order."""
    of_category: dict[str, list[str]] = {}
    for name in names:
        of_category.setdefault(category(name), []).append(name)
    rounds = zip_longest(*of_category.values())
    return [name for names in rounds for name in names if name is not None][:MOST]


def _example(split: Split, kind: str, name: str, sides: Mapping[str, str]) -> Example:
    """Return the picture ``name`` with those of its side pictures that exist; what is missing, the models make."""

    def existing(kinds: Mapping[str, str]) -> dict[str, Path]:
        found = {keyword: split.find(side, name) for keyword, side in kinds.items()}
        return {keyword: path for keyword, path in found.items() if path is not None}

    body = existing(BODY) if kind == IMAGE else {}
    return Example(Path(name).stem, split.require(kind, name), existing(sides), split.category(name), body)
