"""A photo and a garment's picture of one print, a known shift apart."""

import cv2
import numpy as np

FRAME = (192, 144)  # (height, width) in pixels
SHIFT = np.array([12, 8])  # a garment's point is so many pixels to the right of and below the person's


def scene() -> tuple[np.ndarray, np.ndarray]:
    """The person's photo and the garment's picture, each (*FRAME, 3) uint8."""
    noise = np.random.default_rng(0).uniform(0, 255, (50, 40, 3)).astype(np.uint8)
    print_ = cv2.resize(noise, (200, 250), interpolation=cv2.INTER_CUBIC)
    height, width = FRAME
    right, down = SHIFT
    return print_[down : down + height, right : right + width], print_[:height, :width]
