"""Find the torso on a photo by DensePose, since most prints are there."""

import cv2
import numpy as np

from siftvton.correspondence.regions import BODY_PARTS, densepose_labels
from siftvton.data.layouts.base import DENSEPOSE, Split
from siftvton.data.pairs import Pair
from siftvton.data.sides import read_densepose

SPECK = np.ones((5, 5), np.uint8)  # JPEG causes spots of the torso's colour on other parts' outlines; they are narrower
BORDER = 0.05  # margin on each side of the torso's box, as a share of its size


def torso_of(split: Split, pair: Pair, size: tuple[int, int]) -> np.ndarray:
    """Return the torso as (height, width) booleans; the whole photo if DensePose shows no torso."""
    labels = densepose_labels(read_densepose(split.require(DENSEPOSE, pair.person)))
    found = np.isin(labels, BODY_PARTS["torso"]).astype(np.uint8)
    shown = cv2.resize(cv2.morphologyEx(found, cv2.MORPH_OPEN, SPECK), size[::-1], interpolation=cv2.INTER_NEAREST)
    return shown > 0 if shown.any() else np.ones(size, bool)


def box_of(torso: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of a box around the torso, in the proportions of the photo."""
    left, top, width, height = cv2.boundingRect(torso.astype(np.uint8))
    share = min(1, (1 + 2 * BORDER) * max(height / torso.shape[0], width / torso.shape[1]))
    sides = [round(share * side) for side in torso.shape]
    firsts = [
        min(max(middle - side // 2, 0), whole - side)
        for middle, side, whole in zip((top + height // 2, left + width // 2), sides, torso.shape, strict=True)
    ]
    return slice(firsts[0], firsts[0] + sides[0]), slice(firsts[1], firsts[1] + sides[1])
