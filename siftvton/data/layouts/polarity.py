"""The meaning of grey levels in mask files; no other module decides it.

White means: the region to paint (agnostic mask), the garment (garment mask) or the garment as worn (worn mask).
"""

import cv2
import numpy as np

MASK_THRESHOLD = 128  # lowest grey level of a mask that counts as white
MID_GREY = 128  # level of the agnostic picture in the region to paint
GREY_TOLERANCE = 24  # largest change of a mid-grey pixel by JPEG and resizing, levels


def is_white(grey: np.ndarray) -> np.ndarray:
    """Convert a mask file's grey levels (height, width) to booleans, True for white."""
    return grey >= MASK_THRESHOLD


def grey_shares(agnostic: np.ndarray, white: np.ndarray) -> tuple[float, float]:
    """Return the shares of the mask's white and of its black region that are mid-grey in the agnostic picture, 0 to 1.

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
    """Whether an agnostic mask is white where the picture is to be kept, instead of where it is to be painted.

    In this case, most of its black region is grey in the agnostic picture, and a larger share than of its white region.
    The shares are compared because a grey wall behind the person may make most of the white region grey as well.
    """
    in_white, in_black = grey_shares(agnostic, white)
    return in_black > 0.5 and in_white < in_black
