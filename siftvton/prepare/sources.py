"""A user's folder: its photos and garments, and the side files that belong to them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from siftvton.data.layouts.base import AGNOSTIC_MASK, DENSEPOSE, GARMENT, GARMENT_MASK, IMAGE
from siftvton.data.layouts.vitonhd import MASK_ENDING, PICTURE_SUFFIXES
from siftvton.data.pairs import name_key, name_trouble
from siftvton.errors import InputError, UsageError

PARSING, POSE, PERSON_MASK = "image-parse-v3", "openpose_json", "person-mask"  # folders that training does not read
POSE_ENDING = "_keypoints"  # end of OpenPose's names, before .json

FORMS = {"flat": "", "test": "test", "train": "train"}  # form of the input -> its folder
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # Windows writes them; files whose names begin with a dot are not seen


@dataclass(frozen=True)
class SideFolder:
    """Where the files of one kind are.

    Attributes:
        names: the names that the folder may have, the usual one first.
        endings: what may follow the id in a file's name, before the suffix.
        suffixes: the allowed suffixes.
    """

    names: tuple[str, ...]
    endings: tuple[str, ...] = ("",)
    suffixes: tuple[str, ...] = PICTURE_SUFFIXES


PERSON_SIDES = {
    POSE: SideFolder((POSE, "openpose-json"), (POSE_ENDING, ""), (".json",)),
    PARSING: SideFolder((PARSING, "image-parse")),
    DENSEPOSE: SideFolder((DENSEPOSE,)),
    AGNOSTIC_MASK: SideFolder((AGNOSTIC_MASK,), (MASK_ENDING, "")),
    PERSON_MASK: SideFolder((PERSON_MASK,), ("_person_mask", MASK_ENDING, "")),
}
GARMENT_SIDES = {GARMENT_MASK: SideFolder((GARMENT_MASK,), ("", MASK_ENDING))}


@dataclass(frozen=True)
class Item:
    """A photo or a garment's picture.

    Attributes:
        id: its name in the output, without the suffix.
        picture: its file.
        sides: kind -> file, for the side files that exist.
    """

    id: str
    picture: Path
    sides: Mapping[str, Path]

    @property
    def files(self) -> list[Path]:
        return [self.picture, *self.sides.values()]


@dataclass(frozen=True)
class Sources:
    """What a folder holds.

    Attributes:
        root: the folder that the user named.
        folder: the folder that holds ``image`` and ``cloth``.
        split: ``test`` or ``train``, where the items belong.
        persons, garments: the items, in the order of their names.
        faults: file -> why it is no item.
    """

    root: Path
    folder: Path
    split: str
    persons: list[Item]
    garments: list[Item]
    faults: dict[Path, str]


def open_sources(root: str | Path, form: str = "auto") -> Sources:
    """List the photos and garments of a folder.

    Args:
        root: the folder.
        form: ``flat``: ``image`` and ``cloth`` are in ``root``; ``test`` or ``train``: they are in that folder;
            ``auto``: recognise which of these it is.

    Raises:
        InputError: the folder is missing, or has neither photos nor garments.
        UsageError: it has several forms, and ``form`` names none.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"input={root}: no such folder; name a folder with photos in image/ and garments in cloth/")
    found = [form] if form != "auto" else [name for name, place in FORMS.items() if _has_items(root / place)]
    if len(found) > 1:
        raise UsageError(
            f"input={root}: has photos or garments in several places; choose one by layout={' or layout='.join(found)}"
        )
    folder = root / FORMS[found[0]] if found else root
    if not _has_items(folder):
        raise InputError(
            f"{folder}: has neither a folder image nor a folder cloth; put photos into image and garments into cloth"
        )
    faults: dict[Path, str] = {}
    persons = _items(folder, IMAGE, PERSON_SIDES, faults)
    garments = _items(folder, GARMENT, GARMENT_SIDES, faults)
    if not persons and not garments and not faults:
        raise InputError(f"{folder}: its folders image and cloth are empty; put photos and garments into them")
    split = "train" if found[0] == "train" else "test"
    return Sources(root, folder, split, persons, garments, faults)


def id_of(name: str) -> str:
    """Return the id of a file: its name without the suffix, with _ for white space, which pair lists do not allow."""
    return re.sub(r"\s+", "_", Path(name).stem)


def _has_items(folder: Path) -> bool:
    return any((folder / kind).is_dir() for kind in (IMAGE, GARMENT))


def _items(folder: Path, kind: str, sides: Mapping[str, SideFolder], faults: dict[Path, str]) -> list[Item]:
    """Return the items of a kind; add the files that cannot be one to ``faults``."""
    paths = [path for path in _listed(folder / kind) if path.name.lower() not in SYSTEM_FILES]
    same = defaultdict(list)
    for path in paths:
        same[name_key(id_of(path.name))].append(path)
    known = {side: _SideFiles(folder, place) for side, place in sides.items()}
    items = []
    for path in paths:
        others = [other.name for other in same[name_key(id_of(path.name))] if other != path]
        trouble = name_trouble(f"{id_of(path.name)}.jpg")
        if others:
            faults[path] = f"{others[0]} has the same name if suffix and case are ignored; rename one"
        elif trouble:
            faults[path] = f"its name {trouble}; rename the file"
        else:
            try:
                found = {side: file for side, files in known.items() if (file := files.of(path.stem))}
                items.append(Item(id_of(path.name), path, found))
            except InputError as error:
                faults[path] = str(error)
    return items


class _SideFiles:
    """The side files of one kind."""

    def __init__(self, folder: Path, place: SideFolder) -> None:
        self._endings = place.endings
        self._folders = []
        for name in place.names:
            by_stem: dict[str, list[Path]] = defaultdict(list)
            for path in _listed(folder / name):
                if path.suffix in place.suffixes:
                    by_stem[path.stem].append(path)
            self._folders.append(by_stem)

    def of(self, stem: str) -> Path | None:
        """Return the file that belongs to the picture with the name ``stem``, or None.

        Raises:
            InputError: there are several.
        """
        for by_stem in self._folders:
            for ending in self._endings:
                paths = by_stem.get(stem + ending, [])
                if len(paths) > 1:
                    names = " and ".join(path.name for path in paths)
                    raise InputError(f"{names} in {paths[0].parent} belong to it; keep only one of them")
                if paths:
                    return paths[0]
        return None


def _listed(folder: Path) -> Iterator[Path]:
    """Yield what a folder holds, in the order of the names, without hidden files; nothing if there is no folder.

    Raises:
        InputError: the folder may not be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    yield from (folder / name for name in names if not name.startswith("."))
