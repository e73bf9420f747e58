"""VITON-HD's layout: folders, file names and pair lists.

The files of the training and the validation split are in ``train/``, those of the test split in ``test/``. A garment's
picture has the same name as the photo of the person who wears it.
"""

import os
from pathlib import Path

from siftvton.data.layouts.base import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    GARMENT_PARSING,
    IMAGE,
    MATCHES,
    PARSING,
    POSE,
    Layout,
    Split,
)
from siftvton.data.layouts.held_out import held_out_persons
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair, listed_pairs, read_pairs, require_unique_names
from siftvton.errors import InputError
from siftvton.files import is_file

AUTHORS_LISTS = {
    "train": "siftvton_train_pairs.txt",
    "validation": "siftvton_val_pairs.txt",
    "test": "siftvton_test_pairs.txt",
}
MASK_ENDING = "_mask"  # end of an agnostic mask's name, before the suffix
POSE_ENDING = "_keypoints"  # end of OpenPose's names, before .json
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG", ".WEBP")


def part_of(split: str) -> str:
    """Return the name of the folder that holds the files of a split."""
    return "test" if split == "test" else "train"


class VitonHD(Layout):
    """A folder in VITON-HD's layout."""

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        return any(os.path.isdir(Path(root, part, IMAGE)) for part in ("train", "test"))

    def folder(self, name: str) -> Path:
        return self.root / part_of(name)

    def _split(self, name: str) -> Split:
        return VitonHDSplit(self, name)


class VitonHDSplit(Split):
    """One split of a folder in VITON-HD's layout."""

    def __init__(self, layout: VitonHD, name: str) -> None:
        super().__init__(name, layout.folder(name))
        self._root, self._agnostic = layout.root, layout.agnostic / part_of(name)
        self._validation_pairs, self._seed = layout.validation_pairs, layout.split_seed

    def listed(self) -> list[Pair]:
        """Return the pairs of the authors' list if it exists, else those of VITON-HD's own list.

        Without the authors' lists, persons are drawn from ``train_pairs.txt`` until they have at least the requested
        number of validation pairs. So no person is in both parts. Both parts keep the order of the list.
        """
        if self.name == "test":
            authors = self._root / AUTHORS_LISTS["test"]
            return read_pairs(authors if is_file(authors) else self._root / "test_pairs.txt")
        if self._has_authors_lists():
            return self._authors_pairs(self.name)
        path = self._root / "train_pairs.txt"
        pairs = read_pairs(path)
        held_out = held_out_persons(pairs, self._validation_pairs, self._seed, path)
        return [pair for pair in pairs if (pair.person_id in held_out) == (self.name == "validation")]

    def whole_folder(self) -> list[Pair]:
        if self.name == "test":
            return self.listed()
        if not is_file(self._root / "train_pairs.txt") and self._has_authors_lists():
            return [*self._authors_pairs("train"), *self._authors_pairs("validation")]
        return read_pairs(self._root / "train_pairs.txt")

    def worn_garment(self, person: str) -> str:
        return person

    def candidates(self, kind: str, file_name: str) -> list[Path]:
        """Return the possible paths: a photo has exactly the listed name; other pictures may have another suffix."""
        stem = Path(file_name).stem
        if kind == MATCHES:
            return [matches_path(self.matches, file_name)]
        if kind == POSE:
            return [self.folder / kind / f"{stem}{POSE_ENDING}.json"]
        if kind == AGNOSTIC_MASK:
            stem, usual = f"{stem}{MASK_ENDING}", f"{stem}{MASK_ENDING}.png"
        else:
            usual = f"{stem}.png" if kind in (GARMENT_PARSING, PARSING) else file_name
        others = [] if kind == IMAGE else [f"{stem}{suffix}" for suffix in PICTURE_SUFFIXES]
        folder = self._agnostic if kind in (AGNOSTIC, AGNOSTIC_MASK) else self.folder
        return [folder / kind / name for name in dict.fromkeys([usual, *others])]

    def _authors_pairs(self, name: str) -> list[Pair]:
        """Return the authors' training or validation pairs, after a check that no person is in both lists."""
        lists = {part: listed_pairs(self._root / AUTHORS_LISTS[part]) for part in ("train", "validation")}
        require_unique_names({**lists["validation"], **lists["train"]})
        trained = {pair.person_id: place for pair, place in lists["train"].items()}
        for pair, place in lists["validation"].items():
            if pair.person_id in trained:
                raise InputError(
                    f"{place}: {pair.person} is also in the training list ({trained[pair.person_id]}); remove one line"
                )
        return list(lists[name])

    def _has_authors_lists(self) -> bool:
        """Whether the authors' training and validation lists exist.

        Raises:
            InputError: only one of them exists; a drawn split beside it could put a person into both parts.
        """
        training, validation = (self._root / AUTHORS_LISTS[part] for part in ("train", "validation"))
        if is_file(training) != is_file(validation):
            missing = validation if is_file(training) else training
            raise InputError(f"{missing}: no such file, but the authors' other list exists; add the missing list")
        return is_file(training)
