"""Label maps of large photos in little memory.

The networks' own maps have at most a few hundred pixels a side, and 25 of them in the size of a 40-megapixel photo
would take 4 GB. So labels are found in a limited size and then enlarged.
"""

import cv2
import numpy as np

LONGEST = 2048  # pixels


def limited(size: tuple[int, ...]) -> tuple[int, int]:
    """The size (height, width), reduced in proportion if a side is longer than ``LONGEST``."""
    height, width = size
    scale = min(1.0, LONGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def enlarged(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The label map in the size (height, width), each pixel with its nearest label."""
    height, width = size
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
