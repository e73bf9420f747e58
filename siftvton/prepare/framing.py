"""The part of a photo that the network gets, and the way back into the photo.

Coordinates are pixels, x to the right and y down. The centre of pixel i is at i, as in
:class:`~siftvton.correspondence.Correspondences`, while edges count from 0: a picture's left edge is 0, its right edge
is its width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from siftvton.errors import InputError
from siftvton.options import LARGEST_SIDE

Box = tuple[float, float, float, float]  # left, top, right and bottom edge, pixels
Rectangle = tuple[int, int, int, int]  # the same in whole pixels
VITONHD_SIZE = (1024, 768)  # (height, width) of VITON-HD's photos
ROUNDING = 1e-6  # pixels; a length that exceeds a whole number by less is that number


@dataclass(frozen=True)
class Framing:
    """A window of a photo, resized.

    Attributes:
        photo: (height, width) of the photo.
        window: the window's edges in the photo's pixels; where it is beyond the photo, the framed picture is padded.
        size: (height, width) of the framed picture.
    """

    photo: tuple[int, int]
    window: Rectangle
    size: tuple[int, int]

    @classmethod
    def around(cls, photo: tuple[int, int], box: Box, largest: tuple[int, int] = VITONHD_SIZE) -> Framing:
        """Return the largest window inside the photo; if ``box`` does not fit into it, the smallest that holds the box.

        Args:
            photo: (height, width) of the photo.
            box: what must stay inside, e.g. the person's box.
            largest: (height, width) of the largest framed picture. It also gives the window's proportions. A smaller
                window is not enlarged.
        """
        height, width = photo
        ratio = largest[1] / largest[0]
        rows, columns = min(height, round(width / ratio)), min(width, round(height * ratio))
        left, top, right, bottom = _whole_pixels(box, photo)
        growth = max(1.0, (bottom - top) / max(1, rows), (right - left) / max(1, columns))
        rows, columns = max(1, math.ceil(rows * growth - ROUNDING)), max(1, math.ceil(columns * growth - ROUNDING))
        x, y = _start(left, right, columns, width), _start(top, bottom, rows, height)
        return cls(photo, (x, y, x + columns, y + rows), largest if rows > largest[0] else (rows, columns))

    @classmethod
    def whole(cls, photo: tuple[int, int], largest: tuple[int, int] = VITONHD_SIZE) -> Framing:
        """Return the smallest window that holds the whole photo; arguments as in :meth:`around`."""
        return cls.around(photo, (0, 0, photo[1], photo[0]), largest)

    @property
    def inside(self) -> Rectangle:
        """The part of the window that is in the photo, in the photo's pixels."""
        (height, width), (left, top, right, bottom) = self.photo, self.window
        return max(left, 0), max(top, 0), min(right, width), min(bottom, height)

    @property
    def filled(self) -> Rectangle:
        """The part of the framed picture that shows the photo, in the framed picture's pixels; the rest is padding."""
        (left, top, right, bottom), inside = self.window, self.inside
        rows, columns = self.size[0] / (bottom - top), self.size[1] / (right - left)
        x, y = round((inside[0] - left) * columns), round((inside[1] - top) * rows)
        return (
            min(x, self.size[1] - 1),
            min(y, self.size[0] - 1),
            max(x + 1, round((inside[2] - left) * columns)),
            max(y + 1, round((inside[3] - top) * rows)),
        )

    def apply(self, picture: np.ndarray, fill: int | np.ndarray, labels: bool = False) -> np.ndarray:
        """Return the framed picture.

        Args:
            picture: (height, width[, channels]) uint8 of the photo's size.
            fill: level or colour of the padding.
            labels: whether the picture is a map of labels or of colours that stand for labels, which must not be mixed.
        """
        assert picture.shape[:2] == self.photo, f"a picture of {picture.shape}, a photo of {self.photo}"
        framed = np.empty((*self.size, *picture.shape[2:]), np.uint8)
        framed[:] = fill
        part = _cut(picture, self.inside)
        _cut(framed, self.filled)[:] = _resized(part, _size(self.filled), labels)
        return framed

    def points(self, places: np.ndarray) -> np.ndarray:
        """Map (N, 2) positions (x, y) in the photo to positions in the framed picture."""
        ratio, shift = self._from_photo(self.size)
        return (np.asarray(places, np.float64) + 0.5) * ratio + shift - 0.5

    def framed_box(self, box: Box) -> Box:
        """Map a box in the photo to the framed picture; parts outside it are cut off."""
        ratio, shift = self._from_photo(self.size)
        (left, top), (right, bottom) = (np.array([box[:2], box[2:]]) * ratio + shift).clip(0, self.size[::-1])
        return float(left), float(top), float(right), float(bottom)

    def undo(self, result: np.ndarray, onto: np.ndarray, paint: np.ndarray) -> np.ndarray:
        """Return the photo with the result in it, where the mask paints; elsewhere no pixel changes.

        Args:
            result: (h, w, 3) uint8, made of the framed picture resized to (h, w).
            onto: (height, width, 3) uint8, the photo.
            paint: (h', w') uint8, levels 0 to 255 of the framed picture resized to (h', w'): 0 keeps the photo, 255
                takes the result, and the levels between blend them.

        Returns:
            (height, width, 3) uint8.
        """
        assert onto.shape[:2] == self.photo, f"a picture of {onto.shape}, a photo of {self.photo}"
        whole = onto.copy()
        painted = self._painted(paint)
        if painted is None:
            return whole
        share = self._back(paint, painted)[:, :, None].astype(np.float32) / 255
        part = _cut(whole, painted)
        part[:] = np.rint(part * (1 - share) + self._back(result, painted) * share).astype(np.uint8)
        return whole

    def _from_photo(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Return (2,) ratio and (2,) shift that map edges (x, y) in the photo to those of the framed picture in a size.

        The part inside the photo is mapped exactly to the part that it fills, whose edges are whole pixels.
        """
        inside, filled = np.reshape(self.inside, (2, 2)), np.reshape(self.filled, (2, 2))
        scale = np.array([size[1] / self.size[1], size[0] / self.size[0]])
        ratio = scale * (filled[1] - filled[0]) / (inside[1] - inside[0])
        return ratio, scale * filled[0] - inside[0] * ratio

    def _painted(self, paint: np.ndarray) -> Rectangle | None:
        """Return the part of the photo that the mask may paint, in the photo's pixels; None: no part of it."""
        left, top, right, bottom = self.inside
        found = box_of(paint > 0)
        if found is None:
            return None
        ratio, shift = self._from_photo(paint.shape[:2])
        # Interpolation reaches one pixel beyond the mask's own pixels.
        start = np.floor((np.array(found[:2]) - 1 - shift) / ratio).astype(int)
        end = np.ceil((np.array(found[2:]) + 1 - shift) / ratio).astype(int)
        x, y = start.clip((left, top), (right, bottom)).tolist()
        x_end, y_end = end.clip((left, top), (right, bottom)).tolist()
        return (x, y, x_end, y_end) if x < x_end and y < y_end else None

    def _back(self, picture: np.ndarray, part: Rectangle) -> np.ndarray:
        """Return what the framed picture, in any size, shows of a part of the photo, in the photo's pixels."""
        ratio, shift = self._from_photo(picture.shape[:2])
        inside = np.reshape(self.inside, (2, 2))
        # Without the pixels that show padding, none of it is mixed in at the photo's edges.
        first = np.ceil(inside[0] * ratio + shift - ROUNDING).astype(int)
        last = np.maximum(np.floor(inside[1] * ratio + shift + ROUNDING).astype(int), first + 1)
        picture = np.ascontiguousarray(_cut(picture, (*first.tolist(), *last.tolist())))
        shift = shift - first
        if (ratio > 1).any():  # interpolation takes no mean, so it must not shrink
            picture = cv2.resize(picture, _size(self.inside)[::-1], interpolation=cv2.INTER_AREA)
            ratio, shift = np.ones(2), -inside[0]
        # The centre of the part's pixel x is at (x + start + ½)·ratio + shift − ½ of the picture.
        offset = (np.array(part[:2]) + 0.5) * ratio + shift - 0.5
        matrix = np.array([[ratio[0], 0, offset[0]], [0, ratio[1], offset[1]]])
        flags = (cv2.INTER_CUBIC if picture.ndim == 3 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture, matrix, _size(part)[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def as_json(self) -> dict[str, Any]:
        """Return the value to save as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, path: Path) -> Framing:
        """Return the framing that was saved.

        Args:
            value: the value read.
            path: its file, for the message.

        Raises:
            InputError: it is no framing.
        """
        lengths = {"photo": 2, "window": 4, "size": 2}
        if not isinstance(value, Mapping) or not all(_are_numbers(value.get(key), n) for key, n in lengths.items()):
            raise InputError(f"{path}: describes no framing; delete the file and run scripts/prepare.py again")
        framing = cls(*(tuple(value[key]) for key in lengths))
        left, top, right, bottom = framing.inside
        if min(*framing.photo, *framing.size, right - left, bottom - top) < 1 or max(framing.size) > LARGEST_SIDE:
            raise InputError(f"{path}: its window is not allowed; delete the file and run scripts/prepare.py again")
        return framing


def box_of(white: np.ndarray) -> Rectangle | None:
    """Return the smallest box around the true pixels of (height, width) booleans, or None if there are none."""
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def border_pixels(picture: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of (height, width[, channels]) as (N[, channels]); those of corners occur twice."""
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])


def border_colour(picture: np.ndarray) -> np.ndarray:
    """Return the (3,) uint8 median colour of a picture's outermost pixels, which suits its padding."""
    return np.median(border_pixels(picture), axis=0).astype(np.uint8)


def _whole_pixels(box: Box, photo: tuple[int, int]) -> Rectangle:
    """Return the box grown to whole pixels and cut off at the photo's edges."""
    height, width = photo
    left, top = min(max(0, math.floor(box[0])), width), min(max(0, math.floor(box[1])), height)
    return left, top, max(left, min(width, math.ceil(box[2]))), max(top, min(height, math.ceil(box[3])))


def _start(first: int, last: int, length: int, available: int) -> int:
    """Return where a window of ``length`` starts along one axis, with ``first`` to ``last`` in its middle if possible.

    A window that fits is inside the available length. A longer one holds all of it in its middle.
    """
    if length >= available:
        return -((length - available) // 2)
    return min(max(0, (first + last - length) // 2), available - length)


def _cut(picture: np.ndarray, part: Rectangle) -> np.ndarray:
    """Return a view of a part of the picture."""
    left, top, right, bottom = part
    return picture[top:bottom, left:right]


def _size(part: Rectangle) -> tuple[int, int]:
    """Return (height, width)."""
    return part[3] - part[1], part[2] - part[0]


def _resized(picture: np.ndarray, size: tuple[int, int], labels: bool) -> np.ndarray:
    if picture.shape[:2] == size:
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT if labels else cv2.INTER_AREA)


def _are_numbers(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(type(each) is int for each in value)
