"""Find what is missing or wrong among the files of one person or of one garment."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siftvton.correspondence import Correspondences, Frame, read_matches
from siftvton.data.layouts.base import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    MATCHES,
    WORN_MASK,
    Split,
)
from siftvton.data.match_folder import matches_path
from siftvton.data.sides import (
    Fault,
    garment_faults,
    person_faults,
    proportions_differ,
    read_densepose,
    size_text,
)
from siftvton.errors import InputError
from siftvton.files import is_file, read_grey, read_image, read_labels

NO_FOLDER, NO_FILE = "no such folder", "no such file"

SOURCES = {
    IMAGE: "take it from VITON-HD's archive, or use your own photo (data/README.md)",
    GARMENT: "take it from VITON-HD's archive, or use your own picture; a worn garment has its wearer's file name",
    DENSEPOSE: "take it from VITON-HD's archive; for your own photos, draw DensePose's parts (data/README.md)",
    AGNOSTIC: "take it from VITON-HD's archive; for your own photos, set the region to paint to grey (data/README.md)",
    AGNOSTIC_MASK: "take it from VITON-HD's archive; for your own photos, make a mask (data/README.md)",
    GARMENT_PARSING: "take it from GP-VTON; without it, the mask of the garment is used",
    GARMENT_MASK: "take it from VITON-HD's archive; without it and without parsing, the whole picture is used",
    WORN_MASK: "needed only if supervision.atv_weight or supervision.flow_weight is above 0 (data/README.md)",
    MATCHES: "run scripts/preprocess_sift.py, or set data.matches to the folder of the published files",
}


@dataclass(frozen=True)
class Finding:
    """One fault of one file.

    Attributes:
        kind: the kind of the file, named like its folder.
        name: the picture that the file belongs to.
        path: the file.
        title: the fault, in the same words for every file that has it.
        remedy: what to do about it.
        detail: what was found in this file.
        remark: whether all commands work in spite of the fault.
    """

    kind: str
    name: str
    path: Path
    title: str
    remedy: str
    detail: str = ""
    remark: bool = False

    @property
    def missing(self) -> bool:
        return self.title in (NO_FOLDER, NO_FILE)


class _Files:
    """Reads the files that belong to one picture and collects what is wrong with them."""

    def __init__(self, split: Split, name: str, kinds: Collection[str]) -> None:
        self.split, self.name, self.kinds = split, name, kinds
        self.paths: dict[str, Path] = {}
        self.findings: list[Finding] = []

    def read(self, kind: str, reader: Callable[[Path], np.ndarray]) -> np.ndarray | None:
        """Return the picture, or None if it is not requested, missing or broken."""
        if kind not in self.kinds:
            return None
        try:
            path = self.split.find(kind, self.name)
            if path is not None:
                self.paths[kind] = path
                return reader(path)
        except InputError as error:
            path = self._path(kind)
            self.add(kind, "cannot be read", "save, convert or download it again", str(error).removeprefix(f"{path}: "))
            return None
        there = os.path.isdir(self._path(kind).parent)
        self.add(kind, NO_FILE if there else NO_FOLDER, self.split.sources.get(kind, SOURCES[kind]))
        return None

    def judge(self, faults: Iterable[Fault]) -> None:
        """Add the faults as findings."""
        for fault in faults:
            self.add(fault.kind, fault.title, fault.remedy, fault.detail, fault.remark)

    def add(self, kind: str, title: str, remedy: str, detail: str = "", remark: bool = False) -> None:
        remark = remark or kind == WORN_MASK  # read only if the configuration requests it
        self.findings.append(Finding(kind, self.name, self._path(kind), title, remedy, detail, remark))

    def _path(self, kind: str) -> Path:
        return self.paths.get(kind) or self.split.candidates(kind, self.name)[0]


def inspect_person(split: Split, name: str, kinds: Collection[str], size: Frame | None = None) -> list[Finding]:
    """Inspect the files of the person picture ``name``.

    Args:
        split: finds the files.
        name: file name of the person's picture.
        kinds: the kinds to inspect, of image, agnostic-v3.2, agnostic-mask, image-densepose, gt_cloth_warped_mask.
        size: (height, width) to which pictures will be resized; None: not checked.
    """
    files = _Files(split, name, kinds)
    photo = files.read(IMAGE, read_image)
    _check_proportions(files, IMAGE, photo, size)
    files.judge(
        person_faults(
            photo,
            agnostic=files.read(AGNOSTIC, read_image),
            agnostic_mask=files.read(AGNOSTIC_MASK, read_grey),
            densepose=files.read(DENSEPOSE, read_densepose),
            worn_mask=files.read(WORN_MASK, read_grey),
            category=split.category(name),
        )
    )
    return files.findings


def inspect_garment(split: Split, name: str, kinds: Collection[str], size: Frame | None = None) -> list[Finding]:
    """Inspect the files of the garment picture ``name``; ``kinds`` of cloth, cloth-mask, cloth_parse-bytedance."""
    files = _Files(split, name, kinds)
    garment = files.read(GARMENT, read_image)
    _check_proportions(files, GARMENT, garment, size)
    files.judge(
        garment_faults(
            garment,
            garment_mask=files.read(GARMENT_MASK, read_grey),
            parsing=files.read(GARMENT_PARSING, read_labels),
            category=split.category(name),
        )
    )
    return files.findings


def inspect_matches(folder: Path, person: str, frame: Frame) -> tuple[Correspondences | None, list[Finding]]:
    """Return the person's matches, or None if they cannot be read, and what is wrong with their file."""
    path = matches_path(folder, person)
    try:
        if not is_file(path):
            title = NO_FILE if os.path.isdir(folder) else NO_FOLDER
            return None, [Finding(MATCHES, person, path, title, SOURCES[MATCHES])]
        return read_matches(path, frame), []
    except InputError as error:
        remedy = "delete the file and run scripts/preprocess_sift.py again, or correct data.matches_frame"
        return None, [Finding(MATCHES, person, path, "cannot be read", remedy, str(error).removeprefix(f"{path}: "))]


def _check_proportions(files: _Files, kind: str, picture: np.ndarray | None, size: Frame | None) -> None:
    if picture is not None and size is not None and proportions_differ(picture, *size):
        files.add(
            kind,
            "has different proportions from data.height and data.width",
            "it will be squeezed or stretched; crop or pad it to avoid this",
            f"{size_text(picture)} (height × width)",
            remark=True,
        )
