"""The mask on the page: shown as a tint over the photo, painted and erased with a brush."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from siftvton.app.uploads import layer_alpha
from siftvton.data.layouts.polarity import is_white
from siftvton.drawing import TINT

LONGEST_SIDE = 768  # of the editor's canvas, pixels; the browser sends the whole canvas after each stroke
OPACITY = 128  # of the tint, levels
PAINTED = 32  # lowest opacity that counts as painted, levels; strokes have soft edges


@dataclass(frozen=True)
class Canvas:
    """The canvas of the mask editor; it has one size, because the editor misplaces layers when its canvas changes.

    Attributes:
        height, width: pixels. A photo of other proportions is shown in the middle, as large as possible.
    """

    height: int
    width: int

    @classmethod
    def of(cls, height: int, width: int) -> "Canvas":
        """Return the canvas for a network that paints pictures of this size."""
        scale = LONGEST_SIDE / max(height, width)
        return cls(round(height * scale), round(width * scale))

    def value(self, photo: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
        """Return the editor's content.

        Args:
            photo: (height, width, 3) uint8, red first.
            mask: (height, width) uint8, white where the network paints.
        """
        background = np.full((self.height, self.width, 3), 255, np.uint8)
        layer = np.zeros((self.height, self.width, 4), np.uint8)
        place = self._place(mask)
        background[place] = _resized(photo, background[place].shape[:2])
        layer[place][self._shown(mask)] = (*TINT, OPACITY)
        return {"background": background, "layers": [layer], "composite": None}

    def edited(self, mask: np.ndarray, layers: Sequence[bytes]) -> np.ndarray:
        """Return the mask with the user's changes; where nothing changed, its pixels stay, at full resolution.

        Args:
            mask: (height, width) uint8, as prepared.
            layers: the editor's layers as PNG or WebP files.

        Returns:
            (height, width) uint8; ``mask`` itself if nothing changed.

        Raises:
            InputError: a layer cannot be decoded or has another size.
        """
        painted = np.zeros((self.height, self.width), bool)
        for layer in layers:
            painted |= layer_alpha(layer, painted.shape) >= PAINTED
        before, after = self._shown(mask), painted[self._place(mask)]
        if (after == before).all():
            return mask
        size = (mask.shape[0], mask.shape[1])
        changed, white = (_resized_mask(each, size) for each in (after != before, after))
        return np.where(changed, white.astype(np.uint8) * 255, mask)

    def _place(self, mask: np.ndarray) -> tuple[slice, slice]:
        """Return the rows and the columns of the canvas in which the photo with this mask is shown."""
        scale = min(self.height / mask.shape[0], self.width / mask.shape[1])
        height, width = (max(1, round(side * scale)) for side in mask.shape)
        top, left = (self.height - height) // 2, (self.width - width) // 2
        return slice(top, top + height), slice(left, left + width)

    def _shown(self, mask: np.ndarray) -> np.ndarray:
        rows, columns = self._place(mask)
        return _resized_mask(is_white(mask), (rows.stop - rows.start, columns.stop - columns.start))


def _resized_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return is_white(_resized(mask.astype(np.uint8) * 255, size))


def _resized(picture: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    smaller = size[0] < picture.shape[0]
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
