"""What the persons of a world in DressCode's layout wear: a garment of each category, and what goes with it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from siftvton.data.layouts import CATEGORIES
from siftvton.toy.world.flat import FlatGarment, render_garment
from siftvton.toy.world.flat_lower import render_lower
from siftvton.toy.world.garments import Garment, sample_dress, sample_garment
from siftvton.toy.world.lower import Lower, sample_lower
from siftvton.toy.world.persons import Person, sample_person

Clothing = Garment | Lower
UPPER_BODY, LOWER_BODY, DRESSES = CATEGORIES
SAMPLERS: dict[str, Callable[[int, str, int], Clothing]] = {
    UPPER_BODY: sample_garment,
    LOWER_BODY: sample_lower,
    DRESSES: sample_dress,
}


@dataclass(frozen=True)
class Outfit:
    """The clothes of one person.

    Attributes:
        garment: the one that is tried on; its picture is in the data set.
        companion: the plain garment that a person wears with a top, or with trousers or a skirt; None with a dress.
    """

    garment: Clothing
    companion: Clothing | None

    @property
    def category(self) -> str:
        if isinstance(self.garment, Lower):
            return LOWER_BODY
        return DRESSES if self.garment.is_dress else UPPER_BODY


def category_at(index: int) -> str:
    """The category of person and garment ``index`` of a split: each category in turn."""
    return CATEGORIES[index % len(CATEGORIES)]


def sample_clothing(seed: int, split: str, index: int) -> Clothing:
    """Draw garment ``index`` of a split, of its category."""
    return SAMPLERS[category_at(index)](seed, split, index)


def dressed(seed: int, split: str, index: int, garment: Clothing) -> tuple[Person, Outfit]:
    """Draw person ``index`` of a split, from the head to the feet, and dress them in a garment of their category."""
    person = sample_person(seed, split, index, framing="whole")
    outfit = Outfit(garment, _companion(seed, split, index))
    assert outfit.category == category_at(index), f"a garment of {outfit.category} for a person of {category_at(index)}"
    return person, outfit


def _companion(seed: int, split: str, index: int) -> Clothing | None:
    category = category_at(index)
    if category == DRESSES:
        return None
    return replace(SAMPLERS[LOWER_BODY if category == UPPER_BODY else UPPER_BODY](seed, split, index), print="plain")


def flat_picture(garment: Clothing, height: int = 512, width: int = 384) -> FlatGarment:
    """Render a flat garment of any category."""
    if isinstance(garment, Lower):
        return render_lower(garment, height, width)
    return render_garment(garment, height, width)
