"""The interface of layouts: the pairs of a split, who wears which garment, and where each file is."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from siftvton.data.layouts import ALL, CATEGORIES
from siftvton.data.pairs import Pair, in_setting
from siftvton.errors import InputError, UsageError
from siftvton.files import is_file

# The kinds of files, named like VITON-HD's folders.
IMAGE = "image"
DENSEPOSE = "image-densepose"
AGNOSTIC = "agnostic-v3.2"
AGNOSTIC_MASK = "agnostic-mask"
GARMENT = "cloth"
GARMENT_MASK = "cloth-mask"
GARMENT_PARSING = "cloth_parse-bytedance"
WORN_MASK = "gt_cloth_warped_mask"
PARSING = "image-parse-v3"
POSE = "openpose_json"
MATCHES = "sift_matching"

SPLITS = ("train", "validation", "test")


class Split(ABC):
    """The pairs of one split and their files.

    Attributes:
        name: train, validation or test.
        folder: the folder with the split's files, including match files and exact maps.
        sources: kind -> where to get a missing file of it, if this data set has another source than VITON-HD.
    """

    sources: ClassVar[Mapping[str, str]] = {}

    def __init__(self, name: str, folder: Path) -> None:
        """
        Raises:
            InputError: the folder is missing.
        """
        if not os.path.isdir(folder):
            raise InputError(f"{folder}: no such folder; data/README.md describes the folders")
        self.name = name
        self.folder = folder

    @abstractmethod
    def listed(self) -> list[Pair]:
        """Return the split's pairs as they are listed.

        Raises:
            InputError: a list is missing, empty or broken, or its names collide.
            UsageError: no training pair would be left.
        """

    @abstractmethod
    def whole_folder(self) -> list[Pair]:
        """Return the listed pairs of all splits that share :attr:`folder`; raises as :meth:`listed`."""

    @abstractmethod
    def worn_garment(self, person: str) -> str:
        """Return the file name of the garment that the person in the picture ``person`` wears."""

    @abstractmethod
    def candidates(self, kind: str, file_name: str) -> list[Path]:
        """Return the possible paths of the file of ``kind`` for the picture ``file_name``, the usual path first."""

    def category(self, file_name: str) -> str:
        """Return the category, of :data:`CATEGORIES`, of a garment, or of the garment that a person tries on."""
        return CATEGORIES[0]

    def is_worn(self, pair: Pair) -> bool:
        """Whether the garment is the one that the person wears."""
        return Path(self.worn_garment(pair.person)).stem == pair.garment_id

    def in_setting(self, pairs: Sequence[Pair], setting: str) -> list[Pair]:
        """Return the pairs to try on in a setting, see :func:`siftvton.data.pairs.in_setting`."""
        return in_setting(pairs, setting, self.worn_garment)

    def pairs(self, setting: str) -> list[Pair]:
        """Return the split's pairs to try on in a setting, ``paired`` or ``unpaired``."""
        return self.in_setting(self.listed(), setting)

    def matched_pairs(self) -> list[Pair]:
        """Return the pairs of the folder that get match files: each person with the worn garment."""
        return self.in_setting(self.whole_folder(), "paired")

    @property
    def matches(self) -> Path:
        """The folder of the match files, unless the configuration names another."""
        return self.folder / MATCHES

    def find(self, kind: str, file_name: str) -> Path | None:
        """Return the path of the file of ``kind`` for the picture ``file_name``, or None if there is no such file.

        Raises:
            InputError: the file does not exist at its usual path, but at several others.
        """
        usual, *others = self.candidates(kind, file_name)
        if is_file(usual):
            return usual
        # On a case-insensitive file system, two of the names lead to one file.
        found = {os.stat(path).st_ino: path for path in others if is_file(path)}
        if len(found) > 1:
            names = " and ".join(path.name for path in found.values())
            raise InputError(f"{usual.parent}: {names} belong to {file_name}; keep only one of them")
        return next(iter(found.values()), None)

    def require(self, kind: str, file_name: str) -> Path:
        """Return the path as :meth:`find`, but do not accept a missing file.

        Raises:
            InputError: there is no such file, or there are several.
        """
        path = self.find(kind, file_name)
        if path is None:
            path = self.candidates(kind, file_name)[0]
            raise InputError(f"{path}: no such file; scripts/check_data.py lists all missing files")
        return path


class Layout(ABC):
    """A data set's folder."""

    categories: ClassVar[Sequence[str]] = CATEGORIES[:1]  # the categories that the data set has

    def __init__(
        self,
        root: str | Path,
        validation_pairs: int = 0,
        split_seed: int = 0,
        category: str = ALL,
        agnostic: str | Path | None = None,
    ) -> None:
        """
        Args:
            root: the data set's folder.
            validation_pairs: least number of training pairs to hold out if the data set has no validation list.
            split_seed: seed for the draw of these pairs.
            category: the only category to use, or ``all``.
            agnostic: folder with the agnostic masks and the agnostic pictures, organised like ``root``; None: they are
                in ``root``.

        Raises:
            InputError: a folder is missing.
            UsageError: the data set does not have the category.
        """
        for key, folder in (("root", root), ("agnostic", agnostic)):
            if folder is not None and not os.path.isdir(folder):
                raise InputError(f"data.{key}={folder}: no such folder; data/README.md describes the folders")
        if category not in (ALL, *self.categories):
            raise UsageError(
                f"data.category={category} is not allowed, since {root} has only {', '.join(self.categories)}; use "
                f"data.category={ALL}"
            )
        self.root = Path(root)
        self.validation_pairs = validation_pairs
        self.split_seed = split_seed
        self.category = category
        self.agnostic = self.root if agnostic is None else Path(agnostic)

    @classmethod
    def recognises(cls, root: str | Path) -> bool:
        """Whether ``data.layout=auto`` may take the folder for a data set in this layout."""
        return False

    def split(self, name: str) -> Split:
        """Return one split.

        Raises:
            UsageError: there is no split of that name.
            InputError: its folder is missing.
        """
        if name not in SPLITS:
            raise UsageError(f"data.split={name} is not allowed; use one of {', '.join(SPLITS)}")
        return self._split(name)

    @abstractmethod
    def folder(self, name: str) -> Path:
        """Return the folder with the files of the split ``name``, whether it exists or not."""

    @abstractmethod
    def _split(self, name: str) -> Split:
        """Return the split ``name``, one of :data:`SPLITS`."""
