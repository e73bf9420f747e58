"""A photo and a garment's picture that show the same print, shifted by a known distance."""

import cv2
import numpy as np

FRAME = (192, 144)  # (height, width) in pixels
SHIFT = np.array([12, 8])  # (right, down): the garment's point minus the person's point, pixels


def scene() -> tuple[np.ndarray, np.ndarray]:
    """The person's photo and the garment's picture, each (*FRAME, 3) uint8."""
    noise = np.random.default_rng(0).uniform(0, 255, (50, 40, 3)).astype(np.uint8)
    print_ = cv2.resize(noise, (200, 250), interpolation=cv2.INTER_CUBIC)
    height, width = FRAME
    right, down = SHIFT
    return print_[down : down + height, right : right + width], print_[:height, :width]
