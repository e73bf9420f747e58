"""Draw side pictures over their photo, so that faults can be seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from siftvton.correspondence import Correspondences, Frame, read_matches
from siftvton.data.dataset import resized
from siftvton.data.layouts.base import AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE, GARMENT, GARMENT_MASK, IMAGE, Split
from siftvton.data.layouts.polarity import MID_GREY, is_white
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair
from siftvton.data.sides import read_densepose
from siftvton.drawing import contact_sheet, draw_matches, with_densepose, with_mask
from siftvton.errors import InputError
from siftvton.files import is_file, read_grey, read_image
from siftvton.wording import counted

LARGEST = 1024  # longer side of a drawn picture, pixels


def preview_sheet(split: Split, pairs: Sequence[Pair], matches: Path, frame: Frame) -> np.ndarray:
    """Draw a row for each pair: photo with mask, agnostic picture, photo with DensePose, garment with mask, matches.

    If a side picture is missing or broken, the picture is shown without it and the caption says so.

    Args:
        split: finds the files.
        pairs: the pairs to draw.
        matches: folder of match files; they are drawn for pairs in which the person wears the garment.
        frame: (height, width) in which the matches were found, pixels; also the size of every drawn picture, unless it
            is larger than ``LARGEST``.

    Returns:
        (height, width, 3) uint8, red first.
    """
    rows, captions = [], []
    share = min(1, LARGEST / max(frame))
    size = max(1, round(share * frame[0])), max(1, round(share * frame[1]))
    for pair in pairs:
        photo, garment = _Base(split, IMAGE, pair.person, size), _Base(split, GARMENT, pair.garment, size)
        tiles = [
            photo.under(AGNOSTIC_MASK, lambda picture, side: with_mask(picture, is_white(side)), read_grey),
            photo.under(AGNOSTIC, lambda _, side: side),
            photo.under(DENSEPOSE, with_densepose, read_densepose),
            garment.under(GARMENT_MASK, lambda picture, side: with_mask(picture, is_white(side)), read_grey),
        ]
        if split.is_worn(pair):
            tiles.append(_matched(photo.picture, garment.picture, matches_path(matches, pair.person), frame))
        rows.append([picture for picture, _ in tiles])
        captions.append([caption for _, caption in tiles])
    return contact_sheet(rows, captions)


class _Base:
    """A photo or a garment over which side pictures are drawn; it is grey if it cannot be read."""

    def __init__(self, split: Split, kind: str, name: str, frame: Frame) -> None:
        self.split, self.name, self.frame = split, name, frame
        self.picture, self.caption = np.full((*frame, 3), MID_GREY, np.uint8), Path(name).stem
        try:
            self.picture = resized(read_image(split.require(kind, name)), frame)
        except InputError:
            self.caption = f"{self.caption} ({kind} missing or broken)"

    def under(
        self,
        kind: str,
        overlay: Callable[[np.ndarray, np.ndarray], np.ndarray],
        read: Callable[[Path], np.ndarray] = read_image,
    ) -> tuple[np.ndarray, str]:
        """Return the picture with the side picture of ``kind`` over it, and a caption."""
        try:
            path = self.split.find(kind, self.name)
            if path is None:
                return self.picture, f"{self.caption}: no {kind}"
            return overlay(self.picture, resized(read(path), self.frame)), f"{self.caption}: {kind}"
        except InputError:
            return self.picture, f"{self.caption}: {kind} broken"


def _matched(photo: np.ndarray, garment: np.ndarray, path: Path, frame: Frame) -> tuple[np.ndarray, str]:
    try:
        if not is_file(path):
            return draw_matches(photo, garment, Correspondences.empty(frame)), f"no {path.name}"
        matches = read_matches(path, frame)
    except InputError:
        return draw_matches(photo, garment, Correspondences.empty(frame)), f"{path.name} broken"
    return draw_matches(photo, garment, matches), counted(len(matches), "match", "matches")
