"""What is missing or wrong among the files of one person, or of one garment."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from siftvton.correspondence import Correspondences, Frame, read_matches
from siftvton.correspondence.regions import BODY_PARTS, GARMENT_PARTS, PART_COLOURS, densepose_labels
from siftvton.data.layout import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    MATCHES,
    WORN_MASK,
    SplitFolder,
    grey_shares,
    is_inverted,
    is_white,
    matches_path,
)
from siftvton.errors import InputError
from siftvton.files import read_grey, read_image, read_labels

NO_FOLDER, NO_FILE = "no such folder", "no such file"

SAME_PROPORTIONS = 0.02  # how far the quotient of two pictures' proportions may be from 1
GREY_ENOUGH = 0.5  # share of the agnostic mask's white region that must be mid-grey in the agnostic picture
SAME_LEVELS = 16  # how far the agnostic picture's levels may be from its photo's where nothing is painted
STRAY_COLOUR = 60  # levels between a pixel and the nearest DensePose colour from which on it is none of them
STRAY_SHARE = 0.05  # share of such pixels that JPEG's blurred edges stay far below
STRIDE = 4  # colours are judged on every so many rows and columns
FLAT = 12  # levels around the colour of a garment picture's border that count as its background

SOURCES = {
    IMAGE: "part of VITON-HD's archive; of own persons, their photos (data/README.md)",
    GARMENT: "part of VITON-HD's archive; in the paired setting the garment has the file name of the person wearing it",
    DENSEPOSE: "part of VITON-HD's archive; of own photos, draw DensePose's parts (data/README.md)",
    AGNOSTIC: "part of VITON-HD's archive; of own photos, grey out what agnostic-mask paints (data/README.md)",
    AGNOSTIC_MASK: "part of VITON-HD's archive; of own photos, make one (data/README.md)",
    GARMENT_PARSING: "GP-VTON's parsing; without it the garment's mask serves",
    GARMENT_MASK: "part of VITON-HD's archive; without it and without parsing the whole picture serves",
    WORN_MASK: "only supervision.atv_weight > 0 reads it (data/README.md)",
    MATCHES: "run scripts/preprocess_sift.py, or name the folder of the published files by data.matches",
}


@dataclass(frozen=True)
class Finding:
    """One fault of one file.

    Attributes:
        kind: the folder's name in the layout.
        name: the picture that the file belongs to.
        path: the file.
        title: the fault, the same words for every file that has it.
        remedy: what to do about it.
        detail: what was found in this file.
        remark: whether every script can work with it all the same.
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
    """Reads the files that belong to one picture and keeps what is wrong with them."""

    def __init__(self, folder: SplitFolder, name: str, kinds: Collection[str]) -> None:
        self.folder, self.name, self.kinds = folder, name, kinds
        self.findings: list[Finding] = []

    def read(self, kind: str, reader: Callable[[Path], np.ndarray]) -> np.ndarray | None:
        """The picture, or None where it is not asked for, missing or broken."""
        if kind not in self.kinds:
            return None
        path = self.folder.find(kind, self.name)
        if path is None:
            there = (self.folder.folder / kind).is_dir()
            self.add(kind, NO_FILE if there else NO_FOLDER, SOURCES[kind])
            return None
        try:
            return reader(path)
        except InputError as error:
            message = str(error).removeprefix(f"{path}: ")
            self.add(kind, "cannot be read", "save, convert or download it again", message)
            return None

    def add(self, kind: str, title: str, remedy: str, detail: str = "", remark: bool = False) -> None:
        path = self.folder.find(kind, self.name) or self.folder.candidates(kind, self.name)[0]
        remark = remark or kind == WORN_MASK  # which nothing reads unless it is asked to
        self.findings.append(Finding(kind, self.name, path, title, remedy, detail, remark))


def inspect_person(
    folder: SplitFolder, name: str, kinds: Collection[str], proportions: float | None = None
) -> list[Finding]:
    """Look at the files of the person picture ``name``.

    Args:
        kinds: which to look for, of image, agnostic-v3.2, agnostic-mask, image-densepose, gt_cloth_warped_mask.
        proportions: height / width that pictures will be resized to; None: as they are.
    """
    files = _Files(folder, name, kinds)
    photo = files.read(IMAGE, read_image)
    agnostic, densepose = files.read(AGNOSTIC, read_image), files.read(DENSEPOSE, read_image)
    mask, worn = files.read(AGNOSTIC_MASK, read_grey), files.read(WORN_MASK, read_grey)
    _check_proportions(files, IMAGE, photo, proportions)
    for kind, picture in ((AGNOSTIC, agnostic), (DENSEPOSE, densepose), (AGNOSTIC_MASK, mask)):
        if photo is not None and picture is not None and picture.shape[:2] != photo.shape[:2]:
            files.add(
                kind,
                "of another size than its photo",
                "make it anew from this photo",
                f"{_size(picture)}, the photo {_size(photo)} (height × width)",
            )
    if mask is not None:
        _check_agnostic(files, is_white(mask), _if_same_size(agnostic, mask), _if_same_size(photo, mask))
    if densepose is not None:
        _check_densepose(files, densepose[::STRIDE, ::STRIDE])
    if worn is not None and mask is not None and not any(finding.kind == AGNOSTIC_MASK for finding in files.findings):
        paint = cv2.resize(mask, worn.shape[::-1], interpolation=cv2.INTER_NEAREST)  # sizes may differ
        _check_worn(files, is_white(worn), is_white(paint))
    return files.findings


def inspect_garment(
    folder: SplitFolder, name: str, kinds: Collection[str], proportions: float | None = None
) -> list[Finding]:
    """Look at the files of the garment picture ``name``; ``kinds`` of cloth, cloth-mask, cloth_parse-bytedance."""
    files = _Files(folder, name, kinds)
    garment = files.read(GARMENT, read_image)
    mask, parsing = files.read(GARMENT_MASK, read_grey), files.read(GARMENT_PARSING, read_labels)
    _check_proportions(files, GARMENT, garment, proportions)
    for kind, picture in ((GARMENT_MASK, mask), (GARMENT_PARSING, parsing)):
        if garment is None or picture is None:
            continue
        if abs(_proportions(picture) / _proportions(garment) - 1) > SAME_PROPORTIONS:
            files.add(
                kind,
                "of other proportions than its garment picture",
                "make it anew from this picture",
                f"{_size(picture)}, the garment {_size(garment)} (height × width)",
            )
    if mask is not None:
        _check_garment_mask(files, is_white(mask), _if_same_size(garment, mask))
    if parsing is not None and not np.isin(parsing, sum(GARMENT_PARTS.values(), ())).any():
        files.add(
            GARMENT_PARSING,
            "holds none of the labels of torso and sleeves",
            "take GP-VTON's labels: torso 5, 6, 7; left sleeve 21; right sleeve 22",
            f"labels {np.unique(parsing)[:12].tolist()}",
        )
    return files.findings


def inspect_matches(folder: Path, person: str, frame: Frame) -> tuple[Correspondences | None, list[Finding]]:
    """The person's matches where they can be read, and what is wrong with their file."""
    path = matches_path(folder, person)
    if not path.is_file():
        title = NO_FILE if folder.is_dir() else NO_FOLDER
        return None, [Finding(MATCHES, person, path, title, SOURCES[MATCHES])]
    try:
        return read_matches(path, frame), []
    except InputError as error:
        remedy = "delete the file and run scripts/preprocess_sift.py again, or set data.matches_frame right"
        return None, [Finding(MATCHES, person, path, "cannot be read", remedy, str(error).removeprefix(f"{path}: "))]


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[0]} × {picture.shape[1]}"


def _proportions(picture: np.ndarray) -> float:
    return picture.shape[0] / picture.shape[1]


def _if_same_size(picture: np.ndarray | None, other: np.ndarray) -> np.ndarray | None:
    return picture if picture is not None and picture.shape[:2] == other.shape[:2] else None


def _check_proportions(files: _Files, kind: str, picture: np.ndarray | None, wanted: float | None) -> None:
    if picture is None or wanted is None:
        return
    if abs(_proportions(picture) / wanted - 1) > SAME_PROPORTIONS:
        files.add(
            kind,
            "of other proportions than data.height and data.width",
            "it will be squeezed or stretched: better cut or pad it",
            f"{_size(picture)} (height × width)",
            remark=True,
        )


def _check_agnostic(files: _Files, white: np.ndarray, agnostic: np.ndarray | None, photo: np.ndarray | None) -> None:
    """The mask is white where the agnostic picture is grey; elsewhere that picture shows the photo."""
    if not white.any():
        files.add(AGNOSTIC_MASK, "has no white region", "white means to paint: make the mask anew")
        return
    if agnostic is None:
        return
    in_white, in_black = grey_shares(agnostic, white)
    shares = f"{in_white:.0%} of its white and {in_black:.0%} of its black region are grey in {AGNOSTIC}"
    if is_inverted(agnostic, white):
        files.add(AGNOSTIC_MASK, "of the wrong polarity", "white means to paint: invert it", shares)
    elif in_white < GREY_ENOUGH:
        files.add(
            AGNOSTIC_MASK,
            "does not fit its agnostic picture",
            "the agnostic picture must be mid-grey (128) where the mask is white: make both anew",
            shares,
        )
    elif photo is not None and not white.all():
        difference = np.abs(photo[::STRIDE, ::STRIDE].astype(np.int16) - agnostic[::STRIDE, ::STRIDE])
        typical = np.median(difference[~white[::STRIDE, ::STRIDE]])
        if typical > SAME_LEVELS:
            files.add(
                AGNOSTIC,
                "does not show its photo where nothing is painted",
                "it seems to be of another person: make it anew from this photo",
                f"they differ by {typical:.0f} of 255 levels there",
            )


def _check_densepose(files: _Files, picture: np.ndarray) -> None:
    shown = picture[picture.max(axis=2) > STRAY_COLOUR]  # (pixels, 3)
    if len(shown) == 0:
        files.add(DENSEPOSE, "shows nobody", "without body parts SIFT finds no match: draw it anew", remark=True)
        return
    labels = densepose_labels(shown[None])[0]
    distance = np.linalg.norm(shown.astype(np.float32) - PART_COLOURS[labels], axis=1)
    stray = (distance > STRAY_COLOUR).mean()
    if stray > STRAY_SHARE:
        files.add(
            DENSEPOSE,
            "not in DensePose's colours",
            "draw part i of 24 in OpenCV's PARULA at ⌊i·255/24⌋ on black, red first (data/README.md)",
            f"{stray:.0%} of what it shows is none of the 24 colours",
        )
    elif not np.isin(labels, BODY_PARTS["torso"]).any():
        files.add(DENSEPOSE, "shows no torso from the front", "right for a back view; else draw it anew", remark=True)


def _check_worn(files: _Files, worn: np.ndarray, paint: np.ndarray) -> None:
    """The worn garment lies where the picture is painted, and something is not."""
    if paint.all():
        return
    inside, outside = worn[paint].mean(), worn[~paint].mean()
    if outside > inside:
        files.add(
            WORN_MASK,
            "of the wrong polarity",
            "white means the garment as worn: invert it",
            f"{inside:.0%} of what agnostic-mask paints is white, and {outside:.0%} of the rest",
        )


def _check_garment_mask(files: _Files, white: np.ndarray, garment: np.ndarray | None) -> None:
    """A garment lies before a flat background that the picture's border shows."""
    if not white.any():
        files.add(GARMENT_MASK, "has no white region", "white means the garment: make the mask anew")
        return
    border = np.ones_like(white)
    border[1:-1, 1:-1] = False
    if white[border].mean() <= 0.5 or garment is None or white.all():
        return
    background = (np.abs(garment - np.median(garment[border], axis=0)) < FLAT).all(axis=2)
    in_white, in_black = background[white].mean(), background[~white].mean()
    if in_white > in_black:
        files.add(
            GARMENT_MASK,
            "of the wrong polarity",
            "white means the garment: invert it",
            f"{in_white:.0%} of its white and {in_black:.0%} of its black region are background",
        )
