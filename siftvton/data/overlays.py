"""Side pictures laid over their photo, for the eye."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from siftvton.correspondence import Correspondences, Frame, read_matches
from siftvton.correspondence.regions import densepose_labels
from siftvton.data.layout import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    IMAGE,
    MID_GREY,
    Pair,
    SplitFolder,
    is_white,
    matches_path,
)
from siftvton.data.sides import read_densepose
from siftvton.errors import InputError
from siftvton.files import is_file, read_grey, read_image
from siftvton.visualize import contact_sheet, draw_matches

TINT = (255, 0, 160)  # of a mask's white region, red first
OPACITY = 0.25  # of a tint
LARGEST = 1024  # pixels of a drawn picture's longer side


def with_mask(picture: np.ndarray, white: np.ndarray) -> np.ndarray:
    """The white region tinted and outlined; ``picture`` (height, width, 3) uint8, ``white`` (height, width) bool."""
    shown = picture.copy()
    tint = np.array(TINT, np.float32)
    shown[white] = (picture[white] * (1 - OPACITY) + tint * OPACITY).astype(np.uint8)
    contours, _ = cv2.findContours(white.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(shown, contours, -1, TINT, max(1, len(picture) // 256))


def with_densepose(picture: np.ndarray, densepose: np.ndarray) -> np.ndarray:
    """DensePose's colours over the photo, both (height, width, 3) uint8; the photo shows where it has no part."""
    body = densepose_labels(densepose) > 0
    return np.where(body[:, :, None], cv2.addWeighted(picture, 0.5, densepose, 0.5, 0), picture)


def preview_sheet(folder: SplitFolder, pairs: Sequence[Pair], matches: Path, frame: Frame) -> np.ndarray:
    """A row for each pair: photo with mask, agnostic picture, photo with DensePose, garment with mask, matches.

    Where a side picture is missing or broken, the picture stands alone and its caption says so.

    Args:
        folder: where the files lie.
        matches: folder of correspondences, drawn where a person wears the pair's garment.
        frame: (height, width) in pixels of those, and of every drawn picture unless it is larger than ``LARGEST``.
    """
    rows, captions = [], []
    share = min(1, LARGEST / max(frame))
    size = max(1, round(share * frame[0])), max(1, round(share * frame[1]))
    for pair in pairs:
        photo, garment = _Base(folder, IMAGE, pair.person, size), _Base(folder, GARMENT, pair.garment, size)
        tiles = [
            photo.under(AGNOSTIC_MASK, lambda picture, side: with_mask(picture, is_white(side)), read_grey),
            photo.under(AGNOSTIC, lambda _, side: side),
            photo.under(DENSEPOSE, with_densepose, read_densepose),
            garment.under(GARMENT_MASK, lambda picture, side: with_mask(picture, is_white(side)), read_grey),
        ]
        if pair.worn:
            tiles.append(_matched(photo.picture, garment.picture, matches_path(matches, pair.person), frame))
        rows.append([picture for picture, _ in tiles])
        captions.append([caption for _, caption in tiles])
    return contact_sheet(rows, captions)


class _Base:
    """A photo or a garment to lay its side pictures over, grey where it cannot be read."""

    def __init__(self, folder: SplitFolder, kind: str, name: str, frame: Frame) -> None:
        self.folder, self.name, self.frame = folder, name, frame
        self.picture, self.caption = np.full((*frame, 3), MID_GREY, np.uint8), Path(name).stem
        try:
            self.picture = self._resized(read_image(folder.require(kind, name)))
        except InputError:
            self.caption = f"{self.caption} ({kind} missing or broken)"

    def under(
        self,
        kind: str,
        overlay: Callable[[np.ndarray, np.ndarray], np.ndarray],
        read: Callable[[Path], np.ndarray] = read_image,
    ) -> tuple[np.ndarray, str]:
        """The picture with the side picture of ``kind`` over it, and a caption."""
        try:
            path = self.folder.find(kind, self.name)
            if path is None:
                return self.picture, f"{self.caption}: no {kind}"
            return overlay(self.picture, self._resized(read(path))), f"{self.caption}: {kind}"
        except InputError:
            return self.picture, f"{self.caption}: {kind} broken"

    def _resized(self, picture: np.ndarray) -> np.ndarray:
        return cv2.resize(picture, (self.frame[1], self.frame[0]), interpolation=cv2.INTER_LINEAR)


def _matched(photo: np.ndarray, garment: np.ndarray, path: Path, frame: Frame) -> tuple[np.ndarray, str]:
    try:
        if not is_file(path):
            return draw_matches(photo, garment, Correspondences.empty(frame)), f"no {path.name}"
        matches = read_matches(path, frame)
    except InputError:
        return draw_matches(photo, garment, Correspondences.empty(frame)), f"{path.name} broken"
    return draw_matches(photo, garment, matches), f"{len(matches)} matches"
