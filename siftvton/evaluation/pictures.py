"""Which pictures are scored: those of the pair list, found by name. All are decoded once before anything is scored.

Other files in a folder are ignored.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from siftvton.data.layouts.base import IMAGE, Split
from siftvton.data.pairs import Pair
from siftvton.errors import InputError, UsageError
from siftvton.files import is_file, read_image

RESULT_SUFFIXES = (".jpg", ".png")
_FIELDS = "use {person} and {garment}, without a format"


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one size in a fixed order."""

    name: str
    folder: Path
    paths: list[Path]
    size: tuple[int, int]  # height, width


class Pictures(Dataset[Tensor]):
    """Pictures as (3, height, width) float32 in [0, 1], resized bilinearly by OpenCV as floats, without rounding."""

    def __init__(self, paths: Sequence[Path], size: tuple[int, int]) -> None:
        """``size`` is the (height, width) to resize to, in pixels."""
        self.paths = paths
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        height, width = self.size
        levels = read_image(self.paths[index]).astype(np.float32) / 255
        picture = cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(picture).permute(2, 0, 1)  # ................. (3, height, width)


def results_of(name: str, place: str | Path, split: Split, setting: str, limit: int | None = None) -> PictureSet:
    """Find the results, one for each pair.

    Args:
        name: the name of the set.
        place: a folder of ``<person id>_<garment id>.jpg`` (or ``.png``). Or, for other file names, a path in which
            ``{person}`` and ``{garment}`` stand for the ids, e.g. ``ladi/{person}.jpg``.
        split: the split whose persons and garments the results show.
        setting: ``paired`` or ``unpaired``.
        limit: use only this number of pairs, from the first on; None: all.

    Raises:
        InputError: the folder or a result is missing, two pairs share a result, a pair has two results, a result
            cannot be decoded, or sizes differ.
        UsageError: the path has fields other than ``{person}`` and ``{garment}``.
    """
    _check_place(name, str(place))
    folder = _folder(str(place))
    if not os.path.isdir(folder):
        raise InputError(f"predictions.{name}: {folder}: no such folder; correct it, or run scripts/infer.py first")
    pairs = split.pairs(setting)[:limit]
    found = {pair: _find(str(place), pair) for pair in pairs}
    missing = [pair for pair in pairs if found[pair] is None]
    if missing:
        own_names = "{" in str(place)
        lacking = f"predictions.{name}: {folder} lacks {len(missing)} of {len(pairs)} results"
        names = [_candidates(str(place), pair)[0] for pair in missing]
        shown = _some([str(path.relative_to(folder)) if own_names else path.stem for path in names])
        suffixes = "" if own_names else f" ({' or '.join(RESULT_SUFFIXES)})"
        usual = "correct the path, or make these files" if own_names else "scripts/infer.py makes the missing ones"
        raise InputError(f"{lacking}{suffixes}: {shown}; {_remedy(str(place), split, setting, limit) or usual}")
    shared = [path.name for path, count in Counter(found.values()).items() if path is not None and count > 1]
    if shared:
        raise InputError(
            f"predictions.{name}: {place} names the same file for several pairs: {_some(shared)}; use both {{person}} "
            "and {garment} in the path"
        )
    return measured(name, folder, [path for path in found.values() if path is not None])


def photos_of(split: Split, pairs: Sequence[Pair]) -> PictureSet:
    """Find the photos of the persons; a person in several pairs counts once.

    Raises:
        InputError: a photo is missing or cannot be decoded, or sizes differ.
    """
    persons = dict.fromkeys(pair.person for pair in pairs)
    paths = [split.require(IMAGE, person) for person in persons]
    return measured("photos", Path(os.path.commonpath([path.parent for path in paths])), paths)


def measured(name: str, folder: Path, paths: Sequence[Path]) -> PictureSet:
    """Decode every picture once, so that bad pictures are listed before anything is scored.

    Raises:
        InputError: a picture is truncated, grey or transparent, or sizes differ.
    """
    sizes, broken = [], []
    with tqdm(paths, desc=f"checking {name}", unit="picture") as bar:
        for path in bar:
            try:
                sizes.append(read_image(path).shape[:2])
            except InputError as error:
                broken.append(str(error))
    if len(broken) == 1:
        raise InputError(broken[0])
    if broken:
        raise InputError(f"{folder}: {len(broken)} of {len(paths)} pictures cannot be read:\n  " + "\n  ".join(broken))
    usual = Counter(sizes).most_common(1)[0][0]
    others = [f"{path.name} is {size_text(size)}" for path, size in zip(paths, sizes, strict=True) if size != usual]
    if others:
        raise InputError(
            f"{folder}: pictures differ in size (height×width): {len(paths) - len(others)} are {size_text(usual)}, "
            f"but {_some(others)}; resize them to one size"
        )
    return PictureSet(name, folder, list(paths), (usual[0], usual[1]))


def _check_place(name: str, place: str) -> None:
    try:
        fields = [parts[1:] for parts in Formatter().parse(place) if parts[1] is not None]
    except ValueError as error:
        raise UsageError(f"predictions.{name}={place} is not allowed: {error}; {_FIELDS}") from error
    if not all(field in ("person", "garment") and not form and not change for field, form, change in fields):
        raise UsageError(f"predictions.{name}={place} is not allowed; {_FIELDS}")


def _folder(place: str) -> Path:
    """The folder above the first part of the path that has a field."""
    return Path(place.partition("{")[0] + "x").parent if "{" in place else Path(place)


def _candidates(place: str, pair: Pair) -> list[Path]:
    if "{" in place:
        return [Path(place.format(person=pair.person_id, garment=pair.garment_id))]
    return [Path(place) / f"{pair.result_id}{suffix}" for suffix in RESULT_SUFFIXES]


def _find(place: str, pair: Pair) -> Path | None:
    files = [path for path in _candidates(place, pair) if is_file(path)]
    if len(files) > 1:
        raise InputError(f"{files[0].parent}: holds both {files[0].name} and {files[1].name}; remove one")
    return files[0] if files else None


def _remedy(place: str, split: Split, setting: str, limit: int | None) -> str | None:
    """Suggest the other setting if the folder holds all results of that setting and none of this one."""
    other = "paired" if setting == "unpaired" else "unpaired"
    if any(_find(place, pair) for pair in split.pairs(setting)[:limit]):
        return None
    if all(_find(place, pair) for pair in split.pairs(other)[:limit]):
        return f"all {other} results are there: did you mean setting={other}?"
    return None


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def size_text(size: tuple[int, ...]) -> str:
    return f"{size[0]}×{size[1]}"
