"""What every data set's layout answers: which pairs, who wears what, and where each file is."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from siftvton.data.pairs import Pair, in_setting
from siftvton.errors import InputError, UsageError
from siftvton.files import is_file

# The kinds of files, by the names of VITON-HD's folders.
IMAGE = "image"
DENSEPOSE = "image-densepose"
AGNOSTIC = "agnostic-v3.2"
AGNOSTIC_MASK = "agnostic-mask"
GARMENT = "cloth"
GARMENT_MASK = "cloth-mask"
GARMENT_PARSING = "cloth_parse-bytedance"
WORN_MASK = "gt_cloth_warped_mask"
MATCHES = "sift_matching"

SPLITS = ("train", "validation", "test")


class Split(ABC):
    """The pairs of one split and their files.

    Attributes:
        name: train, validation or test.
        folder: the folder that holds the split's files; match files and exact maps are there, too.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """
        Raises:
            InputError: there is no such folder.
        """
        if not os.path.isdir(folder):
            raise InputError(f"{folder}: no such folder; data/README.md describes the folders")
        self.name = name
        self.folder = folder

    @abstractmethod
    def listed(self) -> list[Pair]:
        """The split's pairs as its list names them.

        Raises:
            InputError: a list is missing, empty or broken, or its names collide.
            UsageError: no training pair would be left.
        """

    @abstractmethod
    def whole_folder(self) -> list[Pair]:
        """Every listed pair whose person is in :attr:`folder`, whichever split it belongs to; raises as ``listed``."""

    @abstractmethod
    def worn_garment(self, person: str) -> str:
        """The file name of the garment that the person in the picture ``person`` wears."""

    @abstractmethod
    def candidates(self, kind: str, file_name: str) -> list[Path]:
        """Where the file of ``kind`` for the picture ``file_name`` may be; the data set's own name comes first."""

    def is_worn(self, pair: Pair) -> bool:
        """Whether the garment is the one that the person wears."""
        return Path(self.worn_garment(pair.person)).stem == pair.garment_id

    def in_setting(self, pairs: Sequence[Pair], setting: str) -> list[Pair]:
        """Some pairs as they are tried on, see :func:`siftvton.data.pairs.in_setting`."""
        return in_setting(pairs, setting, self.worn_garment)

    def pairs(self, setting: str) -> list[Pair]:
        """The split's pairs as they are tried on in a setting, ``paired`` or ``unpaired``."""
        return self.in_setting(self.listed(), setting)

    def matched_pairs(self) -> list[Pair]:
        """The pairs of the folder that get match files: each person with the worn garment."""
        return self.in_setting(self.whole_folder(), "paired")

    @property
    def matches(self) -> Path:
        """The folder of the match files unless the configuration names another."""
        return self.folder / MATCHES

    def find(self, kind: str, file_name: str) -> Path | None:
        """The file of ``kind`` for the picture ``file_name``, or None where there is none.

        Raises:
            InputError: the data set's own name is not there, but several others are.
        """
        usual, *others = self.candidates(kind, file_name)
        if is_file(usual):
            return usual
        # Where case does not matter, one file answers to two of the names.
        found = {os.stat(path).st_ino: path for path in others if is_file(path)}
        if len(found) > 1:
            names = " and ".join(path.name for path in found.values())
            raise InputError(f"{usual.parent}: {names} belong to {file_name}; keep only one of them")
        return next(iter(found.values()), None)

    def require(self, kind: str, file_name: str) -> Path:
        """Like :meth:`find`.

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

    def __init__(self, root: str | Path, validation_pairs: int = 0, split_seed: int = 0) -> None:
        """
        Args:
            root: the data set's folder.
            validation_pairs: hold out at least this many training pairs where the data set has no validation list.
            split_seed: for the draw of those pairs.
        """
        self.root = Path(root)
        self.validation_pairs = validation_pairs
        self.split_seed = split_seed

    def split(self, name: str) -> Split:
        """One split.

        Raises:
            UsageError: there is no split of that name.
            InputError: its folder is missing.
        """
        if name not in SPLITS:
            raise UsageError(f"data.split={name} is not allowed; use one of {', '.join(SPLITS)}")
        return self._split(name)

    @abstractmethod
    def _split(self, name: str) -> Split:
        """The split ``name``, one of :data:`SPLITS`."""
