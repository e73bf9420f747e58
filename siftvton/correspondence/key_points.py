"""Points on the two pictures of a pair, matched one to one, with what the matcher knows of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from siftvton.correspondence.regions import Region


@dataclass(frozen=True, eq=False)
class KeyPoints:
    """N points of one picture.

    Attributes:
        xy: (N, 2) float32, (x right, y down) in pixels; whole numbers are the centres of pixels.
        size: (N,) float32, diameter in pixels; None if the matcher does not measure it.
        angle: (N,) float32, orientation in degrees, 0 to 360; None if the matcher does not measure it.
        rgb: (N, 3) uint8, red first: the picture's colour at the nearest pixel.
    """

    xy: np.ndarray
    size: np.ndarray | None
    angle: np.ndarray | None
    rgb: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.xy)
        shapes = [self.xy.shape, self.rgb.shape]
        assert shapes == [(count, 2), (count, 3)], f"points and colours have shapes {shapes}"
        for name, values in (("sizes", self.size), ("angles", self.angle)):
            assert values is None or values.shape == (count,), f"{count} points have {name} of shape {np.shape(values)}"

    @classmethod
    def at(
        cls, xy: np.ndarray, picture: np.ndarray, size: np.ndarray | None = None, angle: np.ndarray | None = None
    ) -> KeyPoints:
        """Key points at ``xy`` (N, 2), with their colours from ``picture`` (height, width, 3)."""
        xy = np.asarray(xy, np.float32)
        return cls(xy, size, angle, picture[_nearest_pixels(xy, picture)])

    def __len__(self) -> int:
        return len(self.xy)

    def __getitem__(self, index: np.ndarray) -> KeyPoints:
        size, angle = (None if values is None else values[index] for values in (self.size, self.angle))
        return KeyPoints(self.xy[index], size, angle, self.rgb[index])


@dataclass(frozen=True, eq=False)
class KeyPointMatches:
    """N pairs of key points that show the same spot, the best pair first.

    Attributes:
        person: N key points of the person's photo.
        garment: N key points of the garment's picture, aligned.
        distance: (N,) floating point, ascending: how unlike the two points of a pair are, in the matcher's own unit.
            For SIFT it is the Euclidean distance of the descriptors. A matcher that gives a confidence c from 0 to 1
            uses 1 − c.
    """

    person: KeyPoints
    garment: KeyPoints
    distance: np.ndarray

    def __post_init__(self) -> None:
        assert len(self.person) == len(self.garment) == len(self.distance), "the arrays are not aligned"
        assert (np.diff(self.distance) >= 0).all(), "the matches are not sorted by distance"

    @classmethod
    def ranked(cls, person: KeyPoints, garment: KeyPoints, distance: np.ndarray) -> KeyPointMatches:
        """Sort pairs by their ``distance`` (N,); equal distances keep their order."""
        order = np.argsort(distance, kind="stable")
        return cls(person[order], garment[order], distance[order])

    def __len__(self) -> int:
        return len(self.distance)

    def __getitem__(self, index: np.ndarray) -> KeyPointMatches:
        return KeyPointMatches(self.person[index], self.garment[index], self.distance[index])

    def within(self, area: Region) -> KeyPointMatches:
        """The matches of which both points are inside a region, to the nearest pixel."""
        on_person = area.person[_nearest_pixels(self.person.xy, area.person)]
        on_garment = area.garment[_nearest_pixels(self.garment.xy, area.garment)]
        return self[np.flatnonzero(on_person & on_garment)]


def _nearest_pixels(xy: np.ndarray, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N,) and columns (N,) of the pixels of ``picture`` (height, width, …) that are nearest to ``xy`` (N, 2)."""
    height, width = picture.shape[:2]
    column, row = np.clip(np.rint(xy).astype(int), 0, [width - 1, height - 1]).T
    return row, column
