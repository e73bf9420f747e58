"""VITON-HD's layout: folders, file names, pair lists and mask polarity, all of them here and only here.

A *person id* or *garment id* is a file name without its suffix. Masks in files are white where the picture is to
be painted (``agnostic-mask``), where the garment lies (``cloth-mask``) or where it is worn
(``gt_cloth_warped_mask``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from siftvton.draws import numpy_generator
from siftvton.errors import InputError, UsageError

IMAGE = "image"
DENSEPOSE = "image-densepose"
AGNOSTIC = "agnostic-v3.2"
AGNOSTIC_MASK = "agnostic-mask"
GARMENT = "cloth"
GARMENT_MASK = "cloth-mask"
GARMENT_PARSING = "cloth_parse-bytedance"
WORN_MASK = "gt_cloth_warped_mask"
MATCHES = "sift_matching"

AUTHORS_LISTS = {
    "train": "siftvton_train_pairs.txt",
    "validation": "siftvton_val_pairs.txt",
    "test": "siftvton_test_pairs.txt",
}
SPLITS = ("train", "validation", "test")
MASK_THRESHOLD = 128  # a mask's grey level counts as white from here on
MID_GREY = 128  # the agnostic picture's level where it is to be painted
GREY_TOLERANCE = 24  # levels that JPEG and resizing may move a mid-grey pixel by


@dataclass(frozen=True)
class Pair:
    """A person's picture and a garment's, by their file names."""

    person: str
    garment: str

    @property
    def person_id(self) -> str:
        return Path(self.person).stem

    @property
    def garment_id(self) -> str:
        return Path(self.garment).stem

    @property
    def result_id(self) -> str:
        """What a try-on result of this pair is called, without the suffix."""
        return f"{self.person_id}_{self.garment_id}"


class SplitFolder:
    """``<root>/train`` or ``<root>/test``: where each file of a person or of a garment lies."""

    def __init__(self, root: str | Path, split: str) -> None:
        """``split`` is train, validation (whose files lie under ``train/``) or test."""
        if split not in SPLITS:
            raise UsageError(f"data.split={split}: allowed are {', '.join(SPLITS)}")
        self.root = Path(root)
        self.folder = self.root / ("test" if split == "test" else "train")
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such folder; data/README.md says how to lay the data out")

    def candidates(self, kind: str, file_name: str) -> list[Path]:
        """Where the file of ``kind`` for the picture ``file_name`` may lie, the likeliest first."""
        stem = Path(file_name).stem
        names = {
            DENSEPOSE: [f"{stem}.jpg", f"{stem}.png"],
            AGNOSTIC_MASK: [f"{stem}_mask.png"],
            GARMENT_MASK: [file_name, f"{stem}.jpg", f"{stem}.png"],
            GARMENT_PARSING: [f"{stem}.png"],
            WORN_MASK: [file_name, f"{stem}.png"],
            MATCHES: [f"{stem}_sift_matches.json"],
        }.get(kind, [file_name])
        return [self.folder / kind / name for name in dict.fromkeys(names)]

    def find(self, kind: str, file_name: str) -> Path | None:
        """The file of ``kind`` for the picture ``file_name``, or None where there is none."""
        return next((path for path in self.candidates(kind, file_name) if path.is_file()), None)

    def require(self, kind: str, file_name: str) -> Path:
        """Like :meth:`find`.

        Raises:
            InputError: there is no such file.
        """
        path = self.find(kind, file_name)
        if path is None:
            path = self.candidates(kind, file_name)[0]
            raise InputError(f"{path}: no such file; scripts/check_data.py lists all that is missing")
        return path


def matches_path(folder: str | Path, person: str) -> Path:
    """The correspondences of the person picture ``person`` in a folder of them."""
    return Path(folder) / f"{Path(person).stem}_sift_matches.json"


def read_pairs(path: str | Path) -> list[Pair]:
    """Read a pair list, one ``person.jpg garment.jpg`` a line.

    Raises:
        InputError: the file is missing or empty, or a line is not two plain file names.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such pair list; write one 'person.jpg garment.jpg' a line")
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        names = line.split()
        if not names:
            continue
        if len(names) != 2 or any(Path(name).name != name or not Path(name).suffix for name in names):
            raise InputError(f"{path}, line {number}: {line!r} is not two file names 'person.jpg garment.jpg'")
        pairs.append(Pair(*names))
    if not pairs:
        raise InputError(f"{path}: holds no pair; write one 'person.jpg garment.jpg' a line")
    return pairs


def folder_pairs(root: str | Path, split: str) -> list[Pair]:
    """Every pair whose person lies in the split's folder, the validation pairs among the training ones."""
    root = Path(root)
    if split == "test":
        return split_pairs(root, "test", 0, 0)
    if not (root / "train_pairs.txt").is_file() and _has_authors_split(root):
        return [pair for part in ("train", "validation") for pair in read_pairs(root / AUTHORS_LISTS[part])]
    return read_pairs(root / "train_pairs.txt")


def split_pairs(root: str | Path, split: str, validation_pairs: int, seed: int) -> list[Pair]:
    """The pairs of one split: the authors' lists where they lie in ``root``, else VITON-HD's own.

    Without the authors' lists, ``validation_pairs`` are drawn off ``train_pairs.txt`` by ``seed``; both parts
    keep the list's order.

    Raises:
        InputError: a list is missing or empty.
        UsageError: no training pair would be left.
    """
    root = Path(root)
    if split == "test":
        authors = root / AUTHORS_LISTS["test"]
        return read_pairs(authors if authors.is_file() else root / "test_pairs.txt")
    if _has_authors_split(root):
        return read_pairs(root / AUTHORS_LISTS[split])
    pairs = read_pairs(root / "train_pairs.txt")
    if not 0 <= validation_pairs < len(pairs):
        raise UsageError(
            f"data.validation_pairs={validation_pairs}: {root / 'train_pairs.txt'} holds {len(pairs)} pairs, "
            f"so 0 to {len(pairs) - 1} are allowed"
        )
    drawn = numpy_generator(seed, "validation").permutation(len(pairs))[:validation_pairs]
    held_out = np.isin(np.arange(len(pairs)), drawn)
    return [pair for pair, out in zip(pairs, held_out, strict=True) if out == (split == "validation")]


def _has_authors_split(root: Path) -> bool:
    """Whether the authors' training and validation lists are there; one alone would mix training and validation."""
    training, validation = (root / AUTHORS_LISTS[part] for part in ("train", "validation"))
    if training.is_file() != validation.is_file():
        missing = validation if training.is_file() else training
        raise InputError(f"{missing}: no such file, though its counterpart is there; the two belong together")
    return training.is_file()


def in_setting(pairs: Sequence[Pair], setting: str) -> list[Pair]:
    """The pairs as tried on.

    ``paired`` takes the garment that the person wears; ``unpaired`` the second column, or, in a list that names
    nobody else's garment (a training list), the next person's.
    """
    if setting == "paired":
        return [Pair(pair.person, pair.person) for pair in pairs]
    if setting != "unpaired":
        raise UsageError(f"setting={setting}: allowed are paired, unpaired")
    if any(pair.person != pair.garment for pair in pairs):
        return list(pairs)
    return [Pair(pair.person, pairs[(place + 1) % len(pairs)].garment) for place, pair in enumerate(pairs)]


def is_white(grey: np.ndarray) -> np.ndarray:
    """A mask file's grey levels (height, width) as booleans."""
    return grey >= MASK_THRESHOLD


def grey_shares(agnostic: np.ndarray, white: np.ndarray) -> tuple[float, float]:
    """How much of the mask's white and of its black region is mid-grey in the agnostic picture, 0 to 1.

    Args:
        agnostic: (height, width, 3) uint8.
        white: (height, width) booleans, the agnostic mask.
    """
    low, high = (MID_GREY - GREY_TOLERANCE,) * 3, (MID_GREY + GREY_TOLERANCE,) * 3
    grey = cv2.inRange(agnostic, low, high) > 0
    in_white = np.count_nonzero(grey & white)
    in_black = np.count_nonzero(grey) - in_white
    white_pixels = np.count_nonzero(white)
    black_pixels = white.size - white_pixels
    return in_white / white_pixels if white_pixels else 0.0, in_black / black_pixels if black_pixels else 0.0


def is_inverted(agnostic: np.ndarray, white: np.ndarray) -> bool:
    """Whether an agnostic mask is white where the picture is to be kept.

    Then its black region is grey in the agnostic picture, and more so than its white one; a grey wall behind the
    person may make most of that grey, too.
    """
    in_white, in_black = grey_shares(agnostic, white)
    return in_black > 0.5 and in_white < in_black
