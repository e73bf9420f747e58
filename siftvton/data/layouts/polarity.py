"""Which grey level of a mask file means what, here and only here.

Masks are white where the picture is to be painted (agnostic mask), where the garment lies (garment mask) or where it
is worn (worn mask).
"""

import cv2
import numpy as np

MASK_THRESHOLD = 128  # a mask's grey level counts as white from here on
MID_GREY = 128  # the agnostic picture's level where it is to be painted
GREY_TOLERANCE = 24  # levels that JPEG and resizing may move a mid-grey pixel by


def is_white(grey: np.ndarray) -> np.ndarray:
    """A mask file's grey levels (height, width) as booleans."""
    return grey >= MASK_THRESHOLD


def grey_shares(agnostic: np.ndarray, white: np.ndarray) -> tuple[float, float]:
    """How much of the mask's white and of its black region is mid-grey in the agnostic picture, 0 to 1.

    Args:
        agnostic: (height, width, 3) uint8.
        white: (height, width) booleans, the agnostic mask.
    """
    low, high = (MID_GREY - GREY_TOLERANCE,) * 3, (MID_GREY + GREY_TOLERANCE,) * 3
    grey = cv2.inRange(agnostic, low, high) > 0
    in_white = np.count_nonzero(grey & white)
    in_black = np.count_nonzero(grey) - in_white
    white_pixels = np.count_nonzero(white)
    black_pixels = white.size - white_pixels
    return in_white / white_pixels if white_pixels else 0.0, in_black / black_pixels if black_pixels else 0.0


def is_inverted(agnostic: np.ndarray, white: np.ndarray) -> bool:
    """Whether an agnostic mask is white where the picture is to be kept.

    Then its black region is grey in the agnostic picture, and more so than its white one; a grey wall behind the
    person may make most of that grey, too.
    """
    in_white, in_black = grey_shares(agnostic, white)
    return in_black > 0.5 and in_white < in_black
