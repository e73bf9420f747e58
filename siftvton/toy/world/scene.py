"""The picture while it is painted: its colours, and labels that say what each pixel shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from siftvton.prepare.labels import CIHP
from siftvton.toy.world.frame import WORLD_SIZE, to_pixels, to_world
from siftvton.toy.world.prints import SHIFT, Points, fill, stroke

FINEST_LINE = 0.4  # pixels; a finer line is left out, because OpenCV draws no line thinner than 1
# The labels that occur in the photo's parsing.
HAIR, UPPER_CLOTHES, TROUSERS, NECK, FACE, LEFT_ARM, RIGHT_ARM = (
    CIHP[name] for name in ("hair", "upper_clothes", "trousers", "torso_skin", "face", "left_arm", "right_arm")
)
# Also if the whole person is in the photo; a pair is (right, left).
DRESS, SKIRT = CIHP["dress"], CIHP["skirt"]
LEGS, SHOES = (CIHP["right_leg"], CIHP["left_leg"]), (CIHP["right_shoe"], CIHP["left_shoe"])


@dataclass(frozen=True)
class Window:
    """A rectangle of the picture: its slices, and the world points (h, w, 2) float32 of its pixels."""

    rows: slice
    columns: slice
    points: np.ndarray


class Scene:
    """A picture painted from back to front; new paint hides the old, in the photo and in the labels.

    Attributes:
        photo: (height, width, 3) uint8.
        densepose: (height, width) uint8, parts of the body, also under clothes.
        parsing: (height, width) uint8, what is visible.
        garment_points: (height, width, 2) float32, world pixels of the flat garment; NaN where none was painted.
    """

    def __init__(self, height: int, width: int) -> None:
        self.photo = np.zeros((height, width, 3), np.uint8)
        self.densepose = np.zeros((height, width), np.uint8)
        self.parsing = np.zeros((height, width), np.uint8)
        self.garment_points = np.full((height, width, 2), np.nan, np.float32)

    @property
    def size(self) -> tuple[int, int]:
        return self.parsing.shape[0], self.parsing.shape[1]

    def window(self, points: Points, margin: float = 0.0) -> Window:
        """The part of the picture that contains the world points and ``margin`` world pixels around them."""
        height, width = self.size
        where = np.asarray(points, np.float64)
        corners = np.stack((where.min(0) - margin, where.max(0) + margin))
        low, high = to_pixels(corners, height, width)
        limits = np.array((width, height))
        x0, y0 = np.clip(np.floor(low), 0, limits - 1).astype(int)
        x1, y1 = np.clip(np.ceil(high) + 1, (x0 + 1, y0 + 1), limits).astype(int)
        grid = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), -1)
        return Window(slice(y0, y1), slice(x0, x1), to_world(grid, height, width).astype(np.float32))

    def polygon(
        self, points: Points, colour: Sequence[int], parsing: int | None = None, densepose: int | None = None
    ) -> None:
        """Fill a polygon of world points. Labels given as None stay as they are."""
        pixels = to_pixels(np.asarray(points, np.float64), *self.size)
        fill(self.photo, pixels, colour)
        fixed = np.round(pixels * (1 << SHIFT)).astype(np.int32)
        for labels, label in ((self.parsing, parsing), (self.densepose, densepose)):
            if label is not None:
                cv2.fillPoly(labels, [fixed], label, cv2.LINE_8, SHIFT)

    def label_body(self, points: Points, part: int) -> None:
        """Label a polygon of world points as a DensePose part, without painting it."""
        fixed = np.round(to_pixels(np.asarray(points, np.float64), *self.size) * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(self.densepose, [fixed], part, cv2.LINE_8, SHIFT)

    def line(self, points: Points, colour: Sequence[int], width: float) -> None:
        """Draw a line (width in world pixels) unless it is much finer than a pixel; labels stay as they are."""
        thickness = width * self.size[0] / WORLD_SIZE[0]
        if thickness >= FINEST_LINE:
            pixels = to_pixels(np.asarray(points, np.float64), *self.size)
            stroke(self.photo, pixels, colour, max(1, round(thickness)))

    def blend(self, window: Window, colour: np.ndarray, cover: np.ndarray, parsing: int | None = None) -> None:
        """Blend colours (h, w, 3) or (3,) over a window; ``cover`` (h, w), 0..1, is their opacity."""
        part = self.photo[window.rows, window.columns]
        blended = part + cover[..., None] * (colour - part.astype(np.float32))
        part[:] = np.clip(blended + 0.5, 0, 255)
        if parsing is not None:
            self.parsing[window.rows, window.columns][cover > 0.5] = parsing

    def shade(self, window: Window, factor: np.ndarray) -> None:
        """Darken a window by a factor (h, w)."""
        part = self.photo[window.rows, window.columns]
        part[:] = part * factor[..., None] + 0.5
