"""DressCode's layout: a folder for each category of garments, and lists that split the pairs.

A person's picture ``images/013563_0.jpg`` and the picture of the worn garment, ``images/013563_1.jpg``, have the same
number; so have their other files. The lists in the root folder have a third column, the category's number. The lists
in a category's folder have two columns.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from siftvton.data.layouts import ALL, CATEGORIES
from siftvton.data.layouts.base import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    MATCHES,
    PARSING,
    POSE,
    WORN_MASK,
    Layout,
    Split,
)
from siftvton.data.layouts.held_out import held_out_persons
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair, in_setting, listed_lines, pair_of, require_unique_names
from siftvton.errors import InputError
from siftvton.files import is_file

TRAIN_LIST = "train_pairs.txt"
TEST_LISTS = {"unpaired": "test_pairs_unpaired.txt", "paired": "test_pairs_paired.txt"}  # setting -> list
LISTS = (TRAIN_LIST, *TEST_LISTS.values())
PERSON_ENDING, GARMENT_ENDING = "_0", "_1"  # of file names, before the suffix
LINE, ROOT_LINE = "013563_0.jpg 013563_1.jpg", "013563_0.jpg 013563_1.jpg 1"  # of a category's list, of a root list
CATEGORY_OF = {str(number): category for number, category in enumerate(CATEGORIES)}  # of a root list's third column
PICTURES = "images"
# Kind -> folder and ending of its files, the usual ones first. DressCode itself has the first three; others add the
# other kinds, and DensePose in colours.
FILES = {
    DENSEPOSE: (("dense", "_5.png"), ("image-densepose", "_0.jpg"), ("image-densepose", "_0.png")),
    PARSING: (("label_maps", "_4.png"),),
    POSE: (("keypoints", "_2.json"),),
    AGNOSTIC_MASK: (("agnostic_masks", "_0.png"),),
    AGNOSTIC: (("agnostic", "_0.png"),),
    GARMENT_MASK: (("masks", "_1.png"), ("cloth_mask", "_1.png")),
    GARMENT_PARSING: (("cloth_parse-bytedance", "_1.png"),),
    WORN_MASK: (("gt_cloth_warped_mask", "_0.png"), ("gt_cloth_warped_mask", "_0.jpg")),
}

_ARCHIVE = "take it from DressCode's archive"
_PREPARE = (
    "run scripts/prepare.py input=<data folder> layout=dresscode output=<folder>, then set data.agnostic to that folder"
)


class DressCode(Layout):
    """A folder in DressCode's layout."""

    categories = CATEGORIES

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        return any(os.path.isdir(Path(root, category, PICTURES)) for category in CATEGORIES)

    def folder(self, name: str) -> Path:
        return self.root

    def _split(self, name: str) -> Split:
        return DressCodeSplit(self, name)

    def lists(self) -> list[str]:
        """Return the names of the lists that exist, in the root folder or in the folder of a category."""
        return [name for name in LISTS if self._files(name)]

    def listed(self, name: str) -> dict[Pair, str]:
        """Read the pairs of a list, each with its place for messages.

        Raises:
            InputError: the list is missing, empty or broken.
        """
        return {pair: place for pair, (place, _) in self._entries(name).items()}

    def category_of(self, file_name: str) -> str:
        """Return the category in whose folder the files of a picture are; the first one if it is nowhere.

        Raises:
            InputError: a list is broken.
        """
        if self.category != ALL:
            return self.category
        listed = self._category_of_number.get(number_of(file_name))
        if listed is not None:
            return listed
        found = (each for each in CATEGORIES if is_file(self.root / each / PICTURES / file_name))
        return next(found, CATEGORIES[0])

    @cached_property
    def _category_of_number(self) -> dict[str, str]:
        """The category of each number in the lists.

        Raises:
            InputError: a number is listed in two categories.
        """
        known: dict[str, tuple[str, str]] = {}
        for name in self.lists():
            for pair, (place, category) in self._entries(name).items():
                for each in (pair.person, pair.garment):
                    before, there = known.setdefault(number_of(each), (category, place))
                    if before != category:
                        raise InputError(
                            f"{place}: {each} belongs to {category}, but {there} puts it into {before}; correct one"
                        )
        return {number: category for number, (category, _) in known.items()}

    def _files(self, name: str) -> list[tuple[Path, str | None]]:
        """Return where a list is read, each file with its category; None: the list's third column has it.

        The root list is read for all categories, and a category's own list for one. If that is missing, the other is
        read. Without both, there are no files.
        """
        chosen = CATEGORIES if self.category == ALL else (self.category,)
        root: list[tuple[Path, str | None]] = [(self.root / name, None)]
        own: list[tuple[Path, str | None]] = [(self.root / category / name, category) for category in chosen]
        for files in (root, own) if self.category == ALL else (own, root):
            if found := [(path, category) for path, category in files if is_file(path)]:
                return found
        return []

    def _entries(self, name: str) -> dict[Pair, tuple[str, str]]:
        """Read a list: pair -> place and category, of the chosen categories."""
        files = self._files(name)
        if not files:
            raise InputError(f"{self.root / name}: no such pair list; write one {ROOT_LINE!r} on each line")
        entries: dict[Pair, tuple[str, str]] = {}
        for path, of_list in files:
            for pair, place, category in _read(path, of_list):
                if self.category in (ALL, category):
                    entries.setdefault(pair, (place, category))
        if not entries:
            raise InputError(f"{files[0][0]}: contains no pair of data.category={self.category}; choose another one")
        return entries


class DressCodeSplit(Split):
    """One split of a folder in DressCode's layout."""

    sources: ClassVar[Mapping[str, str]] = {
        IMAGE: _ARCHIVE,
        GARMENT: _ARCHIVE,
        DENSEPOSE: _ARCHIVE,
        AGNOSTIC: _PREPARE,
        AGNOSTIC_MASK: _PREPARE,
        GARMENT_MASK: "add one; without it and without parsing, the whole picture is used",
    }

    def __init__(self, layout: DressCode, name: str) -> None:
        super().__init__(name, layout.folder(name))
        self._layout = layout

    def listed(self) -> list[Pair]:
        """Return the pairs of the split's list; of the test lists, that of unpaired garments if it exists.

        There is no validation list: persons are drawn from the training list until they have at least the requested
        number of validation pairs.
        """
        if self.name == "test":
            return self._listed_for("unpaired")
        pairs = require_unique_names(self._layout.listed(TRAIN_LIST))
        path = self._layout.root / TRAIN_LIST
        held_out = held_out_persons(pairs, self._layout.validation_pairs, self._layout.split_seed, path)
        return [pair for pair in pairs if (pair.person_id in held_out) == (self.name == "validation")]

    def whole_folder(self) -> list[Pair]:
        if self.name != "test":
            return require_unique_names(self._layout.listed(TRAIN_LIST))
        every = {pair: None for setting in TEST_LISTS for pair in self._listed_for(setting)}
        return list(every)

    def pairs(self, setting: str) -> list[Pair]:
        """Return the pairs to try on; each setting has a test list of its own."""
        listed = self._listed_for(setting) if self.name == "test" and setting in TEST_LISTS else self.listed()
        return self.in_setting(listed, setting)

    def in_setting(self, pairs: Sequence[Pair], setting: str) -> list[Pair]:
        """Return the pairs to try on in a setting; a person never gets a garment of another category."""
        groups: dict[str, list[Pair]] = {}
        for pair in pairs:
            groups.setdefault(self.category(pair.person), []).append(pair)
        tried = {category: iter(in_setting(group, setting, self.worn_garment)) for category, group in groups.items()}
        in_order = (next(tried[self.category(pair.person)], None) for pair in pairs)
        return [pair for pair in in_order if pair is not None]

    def worn_garment(self, person: str) -> str:
        return f"{number_of(person)}{GARMENT_ENDING}{Path(person).suffix}"

    def category(self, file_name: str) -> str:
        return self._layout.category_of(file_name)

    def candidates(self, kind: str, file_name: str) -> list[Path]:
        if kind == MATCHES:
            return [matches_path(self.matches, file_name)]
        root = self._layout.agnostic if kind in (AGNOSTIC, AGNOSTIC_MASK) else self._layout.root
        folder = root / self.category(file_name)
        if kind in (IMAGE, GARMENT):
            return [folder / PICTURES / file_name]
        return [folder / place / f"{number_of(file_name)}{ending}" for place, ending in FILES[kind]]

    def _listed_for(self, setting: str) -> list[Pair]:
        """Return the pairs of a setting's test list, or of the other one if that is missing."""
        there = self._layout.lists()
        usual, *others = sorted(TEST_LISTS, key=lambda each: each != setting)
        chosen = next((TEST_LISTS[each] for each in (usual, *others) if TEST_LISTS[each] in there), TEST_LISTS[usual])
        return require_unique_names(self._layout.listed(chosen))


def number_of(file_name: str) -> str:
    """Return what the names of all files of a pair begin with: ``013563`` of ``013563_0.jpg``."""
    return Path(file_name).stem.rpartition("_")[0]


def _read(path: Path, of_list: str | None) -> Iterator[tuple[Pair, str, str]]:
    """Yield the pair, its place and its category for each line of a list.

    Args:
        path: the list.
        of_list: the category of all its pairs; None: the third column has it.
    """
    form = ROOT_LINE if of_list is None else LINE
    for place, words in listed_lines(path, form):
        number = words[2:] if of_list is None else []
        pair = pair_of(words[: len(words) - len(number)], place, form)
        for name, ending in ((pair.person, PERSON_ENDING), (pair.garment, GARMENT_ENDING)):
            if not Path(name).stem.endswith(ending):
                raise InputError(f"{place}: {name} does not end with {ending} before its suffix; write {form!r}")
        category = of_list or CATEGORY_OF.get(" ".join(number))
        if category is None:
            known = ", ".join(f"{key} ({value})" for key, value in CATEGORY_OF.items())
            raise InputError(f"{place}: the third column is {' '.join(number)!r}, not a category; use {known}")
        yield pair, place, category
