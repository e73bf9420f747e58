"""World pixels: the frame of a 512 × 384 picture, in which persons and garments are described at any rendered size."""

import numpy as np

WORLD_SIZE = (512, 384)  # height and width
SIDES = (-1, 1)  # the right arm and sleeve, at the picture's left, then the left ones


def to_pixels(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """World pixels (..., 2) as pixels of a picture of another size: in both, whole numbers are pixels' centres."""
    ratio = np.array((width / WORLD_SIZE[1], height / WORLD_SIZE[0]))
    return (points + 0.5) * ratio - 0.5


def to_world(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The inverse of :func:`to_pixels`."""
    ratio = np.array((WORLD_SIZE[1] / width, WORLD_SIZE[0] / height))
    return (points + 0.5) * ratio - 0.5
