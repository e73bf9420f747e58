"""Pairs of points that show the same spot of a garment: on the person who wears it and on its own picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Frame = tuple[int, int]  # (height, width) in pixels


@dataclass(frozen=True, eq=False)
class Correspondences:
    """N matches between a person's photo and a garment's picture, as two aligned arrays (paper §3.1).

    A point is (x right, y down) in pixels. Whole numbers are the centres of pixels, so a picture covers x from −½ to
    width − ½ and y from −½ to height − ½.

    Attributes:
        person: (N, 2) float64, points on the person's photo.
        garment: (N, 2) float64, points on the garment's picture.
        frame: (height, width) in pixels of both pictures, in which the points are measured.
    """

    person: np.ndarray
    garment: np.ndarray
    frame: Frame

    def __post_init__(self) -> None:
        for points in (self.person, self.garment):
            assert points.dtype == np.float64, f"points are {points.dtype}, not float64"
            assert points.ndim == 2, f"points have shape {points.shape}, not (N, 2)"
            assert points.shape[1] == 2, f"points have shape {points.shape}, not (N, 2)"
            assert np.isfinite(points).all(), "a point is not finite"
        assert len(self.person) == len(self.garment), (
            f"{len(self.person)} points on the person, {len(self.garment)} on the garment"
        )
        assert min(self.frame) > 0, f"frame {self.frame} is empty"

    @classmethod
    def empty(cls, frame: Frame) -> Correspondences:
        """No match in pictures of this size."""
        return cls(np.zeros((0, 2)), np.zeros((0, 2)), frame)

    def __len__(self) -> int:
        return len(self.person)

    def resized(self, frame: Frame) -> Correspondences:
        """The same matches after both pictures are resized to ``frame``: x → (x + ½)·r − ½."""
        ratio = np.array([frame[1] / self.frame[1], frame[0] / self.frame[0]])
        return Correspondences((self.person + 0.5) * ratio - 0.5, (self.garment + 0.5) * ratio - 0.5, frame)

    def rounded(self) -> Correspondences:
        """The same matches with every point at the nearest pixel's centre; halves round to the even number."""
        return Correspondences(np.rint(self.person), np.rint(self.garment), self.frame)
