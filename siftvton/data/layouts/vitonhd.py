"""VITON-HD's layout: folders, file names and pair lists.

The files of the training and the validation split are in ``train/``, those of the test split in ``test/``. A garment's
picture has the same name as the photo of the person who wears it.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from siftvton.data.layouts.base import (
    AGNOSTIC_MASK,
    GARMENT_PARSING,
    IMAGE,
    MATCHES,
    PARSING,
    POSE,
    Layout,
    Split,
)
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair, listed_pairs, read_pairs, require_unique_names
from siftvton.draws import numpy_generator
from siftvton.errors import InputError, UsageError
from siftvton.files import is_file

AUTHORS_LISTS = {
    "train": "siftvton_train_pairs.txt",
    "validation": "siftvton_val_pairs.txt",
    "test": "siftvton_test_pairs.txt",
}
MASK_ENDING = "_mask"  # end of an agnostic mask's name, before the suffix
POSE_ENDING = "_keypoints"  # end of OpenPose's names, before .json
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG", ".WEBP")


class VitonHD(Layout):
    """A folder in VITON-HD's layout."""

    def folder(self, name: str) -> Path:
        return self.root / ("test" if name == "test" else "train")

    def _split(self, name: str) -> Split:
        return VitonHDSplit(self, name)


class VitonHDSplit(Split):
    """One split of a folder in VITON-HD's layout."""

    def __init__(self, layout: VitonHD, name: str) -> None:
        super().__init__(name, layout.folder(name))
        self._root = layout.root
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
        pairs = read_pairs(self._root / "train_pairs.txt")
        held_out = self._held_out_persons(pairs)
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
        return [self.folder / kind / name for name in dict.fromkeys([usual, *others])]

    def _held_out_persons(self, pairs: Sequence[Pair]) -> set[str]:
        """Return the ids of the persons to validate on."""
        persons = list(dict.fromkeys(pair.person_id for pair in pairs))
        order = numpy_generator(self._seed, "validation").permutation(len(persons))
        listed = Counter(pair.person_id for pair in pairs)
        counts = np.array([listed[persons[place]] for place in order])
        most = int(counts[:-1].sum())  # at least the last person drawn stays in the training split
        if not 0 <= self._validation_pairs <= most:
            raise UsageError(
                f"data.validation_pairs={self._validation_pairs} is not allowed, since "
                f"{self._root / 'train_pairs.txt'} has {len(pairs)} pairs; use 0 to {most}"
            )
        if not self._validation_pairs:
            return set()
        drawn = np.searchsorted(np.cumsum(counts), self._validation_pairs) + 1
        return {persons[place] for place in order[:drawn]}

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
