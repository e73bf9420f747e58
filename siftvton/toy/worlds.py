"""The toy world of a data folder: it renders any of its persons in any garment of the same category."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from siftvton.data.layouts import CATEGORIES
from siftvton.data.layouts.base import Split
from siftvton.errors import InputError
from siftvton.files import is_file, read_json
from siftvton.options import LARGEST_SIDE
from siftvton.toy.world.garments import Garment, sample_garment
from siftvton.toy.world.outfits import Clothing, category_at, dressed, sample_clothing
from siftvton.toy.world.persons import sample_person
from siftvton.toy.world.render import Rendering, render
from siftvton.toy.world.whole import render_whole
from siftvton.toy.world.write import WORLD_FILE
from siftvton.toy.world.write_dresscode import LAYOUT, place_of


@dataclass(frozen=True)
class World(ABC):
    """A toy world.

    Attributes:
        note: the file that describes it.
        seed: its seed.
        height, width: the size of its pictures, px.
        split: ``train`` or ``test``, whose persons and garments are meant where numbers do not tell.
    """

    note: Path
    seed: int
    height: int
    width: int
    split: str

    @abstractmethod
    def category(self, number: int) -> str:
        """Return the category of garment or person ``number``."""

    @abstractmethod
    def garment(self, number: int) -> Clothing:
        """Return garment ``number``."""

    @abstractmethod
    def rendering(self, person: int, garment: Clothing) -> Rendering:
        """Render person ``number`` in a garment of the same category."""


class Tops(World):
    """A world in VITON-HD's layout: tops, on persons from the head to the hips."""

    def category(self, number: int) -> str:
        return CATEGORIES[0]

    def garment(self, number: int) -> Clothing:
        return sample_garment(self.seed, self.split, number)

    def rendering(self, person: int, garment: Clothing) -> Rendering:
        assert isinstance(garment, Garment)
        return render(sample_person(self.seed, self.split, person), garment, self.height, self.width)


class AllCategories(World):
    """A world in DressCode's layout: garments of all categories, on persons from the head to the feet."""

    def category(self, number: int) -> str:
        return category_at(place_of(number)[1])

    def garment(self, number: int) -> Clothing:
        return sample_clothing(self.seed, *place_of(number))

    def rendering(self, person: int, garment: Clothing) -> Rendering:
        return render_whole(*dressed(self.seed, *place_of(person), garment), self.height, self.width)


def world_of(split: Split) -> World:
    """Return the toy world that a split belongs to.

    Raises:
        InputError: the data are not a toy world, or its note is broken.
    """
    # The folder of a split in DressCode's layout is the data folder.
    note = next(filter(is_file, (folder / WORLD_FILE for folder in (split.folder, split.folder.parent))), None)
    if note is None:
        raise InputError(
            f"{split.folder.parent / WORLD_FILE}: no such file; use a data.root that scripts/make_toy_data.py wrote"
        )
    world = read_json(note)
    keys = ("seed", "height", "width")
    if not isinstance(world, dict) or not all(type(world.get(key)) is int for key in keys):
        raise InputError(f"{note}: lacks whole numbers {', '.join(keys)}; make the world again in another folder")
    if not all(1 <= world[key] <= LARGEST_SIDE for key in keys[1:]):
        raise InputError(
            f"{note}: height and width must be 1 to {LARGEST_SIDE}; make the world again in another folder"
        )
    kind: type[World] = AllCategories if world.get("layout") == LAYOUT else Tops
    return kind(note, world["seed"], world["height"], world["width"], "test" if split.name == "test" else "train")


def number_of(file_id: str) -> int:
    """Return the number of the person or garment that a file shows.

    Raises:
        InputError: the name is not one of the toy world.
    """
    number = file_id.partition("_")[0]
    if not number.isdecimal():
        raise InputError(
            f"{file_id}: is not a name of the toy world (00000_00, 00001_00, …); use the world's own pair list"
        )
    return int(number)
