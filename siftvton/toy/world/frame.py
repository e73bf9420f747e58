"""World pixels: persons and garments are described in a frame of 512 × 384 pixels, whatever size is rendered."""

import numpy as np

WORLD_SIZE = (512, 384)  # height and width
SIDES = (-1, 1)  # first the right arm and sleeve, which are at the picture's left, then the left ones


def to_pixels(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Convert world pixels (..., 2) to pixels of a rendered picture. In both, whole numbers are centres of pixels."""
    ratio = np.array((width / WORLD_SIZE[1], height / WORLD_SIZE[0]))
    return (points + 0.5) * ratio - 0.5


def to_world(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The inverse of :func:`to_pixels`."""
    ratio = np.array((WORLD_SIZE[1] / width, WORLD_SIZE[0] / height))
    return (points + 0.5) * ratio - 0.5
