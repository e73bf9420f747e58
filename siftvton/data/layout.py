"""VITON-HD's layout: folders, file names, pair lists and mask polarity, all of them here and only here.

A *person id* or *garment id* is a file name without its suffix. Masks in files are white where the picture is to
be painted (``agnostic-mask``), where the garment lies (``cloth-mask``) or where it is worn
(``gt_cloth_warped_mask``).
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from siftvton.draws import numpy_generator
from siftvton.errors import InputError, UsageError
from siftvton.files import is_file, read_bytes
from siftvton.plain_yaml import parse

IMAGE = "image"
DENSEPOSE = "image-densepose"
AGNOSTIC = "agnostic-v3.2"
AGNOSTIC_MASK = "agnostic-mask"
GARMENT = "cloth"
GARMENT_MASK = "cloth-mask"
GARMENT_PARSING = "cloth_parse-bytedance"
WORN_MASK = "gt_cloth_warped_mask"
MATCHES = "sift_matching"
MATCHES_NOTE = "preprocess_sift.yaml"  # the configuration that made a folder of matches

AUTHORS_LISTS = {
    "train": "siftvton_train_pairs.txt",
    "validation": "siftvton_val_pairs.txt",
    "test": "siftvton_test_pairs.txt",
}
SPLITS = ("train", "validation", "test")
MATCHES_ENDING = "_sift_matches.json"
MASK_ENDING = "_mask"  # of the agnostic mask's name, before the suffix
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG", ".WEBP")
LONGEST_NAME = 255  # bytes that file systems allow
# Windows gives these names to devices, whatever the suffix.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
MASK_THRESHOLD = 128  # a mask's grey level counts as white from here on
MID_GREY = 128  # the agnostic picture's level where it is to be painted
GREY_TOLERANCE = 24  # levels that JPEG and resizing may move a mid-grey pixel by


@dataclass(frozen=True)
class Pair:
    """A person's picture and a garment's, by their file names.

    The names without their suffixes are the ids, and only these tell persons, garments and results apart.
    """

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

    @property
    def worn(self) -> bool:
        """Whether the garment is the one that the person wears."""
        return self.person_id == self.garment_id


class SplitFolder:
    """``<root>/train`` or ``<root>/test``: where each file of a person or of a garment lies."""

    def __init__(self, root: str | Path, split: str) -> None:
        """``split`` is train, validation (whose files lie under ``train/``) or test."""
        if split not in SPLITS:
            raise UsageError(f"data.split={split}: allowed are {', '.join(SPLITS)}")
        self.root = Path(root)
        self.folder = self.root / ("test" if split == "test" else "train")
        if not os.path.isdir(self.folder):
            raise InputError(f"{self.folder}: no such folder; data/README.md says how to lay the data out")

    def candidates(self, kind: str, file_name: str) -> list[Path]:
        """Where the file of ``kind`` for the picture ``file_name`` may be.

        VITON-HD's own name comes first. A photo has exactly the name that the pair list gives; any other picture
        may have another suffix.
        """
        stem = Path(file_name).stem
        if kind == MATCHES:
            return [self.folder / kind / f"{stem}{MATCHES_ENDING}"]
        if kind == AGNOSTIC_MASK:
            stem, usual = f"{stem}{MASK_ENDING}", f"{stem}{MASK_ENDING}.png"
        else:
            usual = f"{stem}.png" if kind == GARMENT_PARSING else file_name
        others = [] if kind == IMAGE else [f"{stem}{suffix}" for suffix in PICTURE_SUFFIXES]
        return [self.folder / kind / name for name in dict.fromkeys([usual, *others])]

    def find(self, kind: str, file_name: str) -> Path | None:
        """The file of ``kind`` for the picture ``file_name``, or None where there is none.

        Raises:
            InputError: VITON-HD's own name is not there, but several others are.
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
            raise InputError(f"{path}: no such file; scripts/check_data.py lists all that is missing")
        return path


def matches_path(folder: str | Path, person: str) -> Path:
    """The correspondences of the person picture ``person`` in a folder of them."""
    return Path(folder) / f"{Path(person).stem}{MATCHES_ENDING}"


def require_frame(folder: str | Path, frame: tuple[int, int]) -> None:
    """Look at the configuration that ``preprocess_sift.py`` left beside its matches, where it is there.

    Raises:
        UsageError: they were measured in another frame than ``frame``, (height, width) in pixels.
    """
    note = Path(folder) / MATCHES_NOTE
    if not is_file(note):
        return  # the authors' files, or those of another tool
    try:
        content = parse(read_bytes(note).decode())
        found = tuple(int(side) for side in content["data"]["matches_frame"])
    except (ValueError, LookupError, TypeError):  # broken, which preprocess_sift.py says itself
        return
    if found != tuple(frame):
        raise UsageError(
            f"data.matches_frame={list(frame)}: the matches in {folder} were measured in {list(found)}, says "
            f"{note.name}; use data.matches_frame={list(found)}"
        )


def read_pairs(path: str | Path) -> list[Pair]:
    """Read a pair list, one ``person.jpg garment.jpg`` a line; a pair that is listed again counts once.

    Raises:
        InputError: the file is missing or empty; a line is not two plain file names; or names collide, as
            :func:`_check_names` says.
    """
    return _checked(_listed(Path(path)))


def _listed(path: Path) -> dict[Pair, str]:
    """The pairs of a list, each with its place for messages: the list and the line."""
    if not os.path.lexists(path):
        raise InputError(f"{path}: no such pair list; write one 'person.jpg garment.jpg' a line")
    content = read_bytes(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: is saved as UTF-16; save it as UTF-8")
    pairs: dict[Pair, str] = {}
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf")), start=1):
        place = f"{path}, line {number}"
        try:
            names = line.decode("utf-8").split()
        except UnicodeDecodeError as error:
            raise InputError(f"{place}: is not UTF-8; save the list as UTF-8") from error
        if not names:
            continue
        if len(names) != 2 or any(Path(name).name != name or not Path(name).suffix for name in names):
            raise InputError(f"{place}: {' '.join(names)[:200]!r} is not two file names 'person.jpg garment.jpg'")
        pair = Pair(*names)
        for name in names:
            _check_name(name, place)
        pairs.setdefault(pair, place)
    if not pairs:
        raise InputError(f"{path}: holds no pair; write one 'person.jpg garment.jpg' a line")
    return pairs


def _check_name(name: str, place: str) -> None:
    """Refuse what some file system cannot hold, and what nobody can see.

    Raises:
        InputError: a name with its place.
    """
    trouble = None
    if not name.isprintable():
        trouble = f"has an invisible character (U+{ord(next(c for c in name if not c.isprintable())):04X})"
    elif "\\" in name:
        trouble = "has a backslash; list names without folders"
    elif Path(name).stem.endswith((".", " ")):
        trouble = "has a dot before its suffix, which Windows drops"
    elif name.partition(".")[0].casefold() in DEVICES:
        trouble = "is a device on Windows"
    elif len(os.fsencode(Path(name).stem)) + len(MATCHES_ENDING) > LONGEST_NAME:
        trouble = "is too long"
    if trouble:
        raise InputError(f"{place}: {name!r:.80} {trouble}; rename the file")


def _key(name: str) -> str:
    """What file systems compare: neither case nor the way that accents are encoded tells two files apart."""
    return unicodedata.normalize("NFC", name).casefold()


def _checked(listed: Mapping[Pair, str]) -> list[Pair]:
    """The pairs, once no two of them share a name that must be their own.

    Files are named after ids, so two persons must not have one id, nor two garments, nor two results. Where ids
    differ only in case or in the encoding of accents, a case-insensitive file system makes them one.

    Args:
        listed: pair -> its place in a list, for the message.

    Raises:
        InputError: names collide, or a result's name would be too long.
    """
    persons: dict[str, tuple[str, str]] = {}
    garments: dict[str, tuple[str, str]] = {}
    ids: dict[str, tuple[str, str]] = {}
    results: dict[str, tuple[str, str]] = {}
    for pair, place in listed.items():
        if len(os.fsencode(f"{pair.result_id}.png")) > LONGEST_NAME:
            raise InputError(
                f"{place}: the result would have a name of more than {LONGEST_NAME} bytes; shorten the ids"
            )
        for seen, owner, name in (
            (persons, pair.person, pair.person_id),
            (garments, pair.garment, pair.garment_id),
            (ids, pair.person_id, pair.person_id),
            (ids, pair.garment_id, pair.garment_id),
            (results, f"{pair.person} {pair.garment}", pair.result_id),
        ):
            other, before = seen.setdefault(_key(name), (owner, place))
            if other != owner:
                what = "their results' name" if seen is results else "their name without suffix, whatever the case"
                raise InputError(f"{place}: {owner} and {other} ({before}) share {what}; rename one")
    return list(listed)


def folder_pairs(root: str | Path, split: str) -> list[Pair]:
    """Every pair whose person lies in the split's folder, the validation pairs among the training ones."""
    root = Path(root)
    if split == "test":
        return split_pairs(root, "test", 0, 0)
    if not is_file(root / "train_pairs.txt") and _has_authors_split(root):
        return [*_authors_pairs(root, "train"), *_authors_pairs(root, "validation")]
    return read_pairs(root / "train_pairs.txt")


def split_pairs(root: str | Path, split: str, validation_pairs: int, seed: int) -> list[Pair]:
    """The pairs of one split: the authors' lists where they lie in ``root``, else VITON-HD's own.

    Without the authors' lists, persons are drawn off ``train_pairs.txt`` by ``seed`` until they have at least
    ``validation_pairs`` pairs, so that nobody is both trained on and validated on; both parts keep the list's order.

    Raises:
        InputError: a list is missing or empty, or the authors' lists share a person.
        UsageError: no training pair would be left.
    """
    root = Path(root)
    if split == "test":
        authors = root / AUTHORS_LISTS["test"]
        return read_pairs(authors if is_file(authors) else root / "test_pairs.txt")
    if _has_authors_split(root):
        return _authors_pairs(root, split)
    pairs = read_pairs(root / "train_pairs.txt")
    held_out = _drawn_persons(root / "train_pairs.txt", pairs, validation_pairs, seed)
    return [pair for pair in pairs if (pair.person_id in held_out) == (split == "validation")]


def _drawn_persons(path: Path, pairs: Sequence[Pair], validation_pairs: int, seed: int) -> set[str]:
    """Ids of the persons to validate on."""
    persons = list(dict.fromkeys(pair.person_id for pair in pairs))
    order = numpy_generator(seed, "validation").permutation(len(persons))
    listed = Counter(pair.person_id for pair in pairs)
    counts = np.array([listed[persons[place]] for place in order])
    most = int(counts[:-1].sum())  # the last one drawn is left to train on
    if not 0 <= validation_pairs <= most:
        raise UsageError(
            f"data.validation_pairs={validation_pairs}: {path} holds {len(pairs)} pairs, so 0 to {most} are allowed"
        )
    drawn = np.searchsorted(np.cumsum(counts), validation_pairs) + 1 if validation_pairs else 0
    return {persons[place] for place in order[:drawn]}


def _authors_pairs(root: Path, split: str) -> list[Pair]:
    """The authors' training or validation pairs, once their lists are known to share no person."""
    lists = {part: _listed(root / AUTHORS_LISTS[part]) for part in ("train", "validation")}
    _checked({**lists["validation"], **lists["train"]})
    trained = {pair.person_id: place for pair, place in lists["train"].items()}
    for pair, place in lists["validation"].items():
        if pair.person_id in trained:
            raise InputError(f"{place}: {pair.person} is also trained on ({trained[pair.person_id]}); remove one line")
    return list(lists[split])


def _has_authors_split(root: Path) -> bool:
    """Whether the authors' training and validation lists are there; one alone would mix training and validation."""
    training, validation = (root / AUTHORS_LISTS[part] for part in ("train", "validation"))
    if is_file(training) != is_file(validation):
        missing = validation if is_file(training) else training
        raise InputError(f"{missing}: no such file, though its counterpart is there; the two belong together")
    return is_file(training)


def in_setting(pairs: Sequence[Pair], setting: str) -> list[Pair]:
    """The pairs as tried on, each once.

    ``paired`` takes the garment that the person wears; ``unpaired`` the second column, or, in a list that names
    nobody else's garment (a training list), the next person's.

    Raises:
        UsageError: there is no such setting.
        InputError: two results would have one name.
    """
    if setting not in ("paired", "unpaired"):
        raise UsageError(f"setting={setting}: allowed are paired, unpaired")
    worn = {pair.person_id: pair.garment for pair in pairs if pair.worn}
    if setting == "paired":
        tried = [Pair(pair.person, worn.get(pair.person_id, pair.person)) for pair in pairs]
    elif all(pair.worn for pair in pairs):
        tried = [Pair(pair.person, pairs[(place + 1) % len(pairs)].garment) for place, pair in enumerate(pairs)]
    else:
        tried = list(pairs)
    return _checked(dict.fromkeys(tried, "the pair list"))


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
