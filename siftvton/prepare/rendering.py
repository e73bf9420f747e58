"""DensePose: a model's output -> body parts of the photo -> the rendering that the network was trained on."""

from __future__ import annotations

import math

import cv2
import numpy as np

from siftvton.correspondence.regions import PART_COLOURS

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def draw_parts(labels: np.ndarray) -> np.ndarray:
    """Return DensePose's rendering, (height, width, 3) uint8, red first, of (height, width) labels from 0 to 24."""
    return PART_COLOURS[labels]


def part_labels(coarse: np.ndarray, fine: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    """Return the body part at each pixel of a photo: the finest part wherever the coarse segmentation sees the body.

    Source: DensePose's own post-processing. Both are resized to the box before the largest score is chosen.

    Args:
        coarse: (channels, h, w) float32 scores; channel 0 is the background.
        fine: (25, h, w) float32 scores of the background and the 24 parts.
        box: the person's box on the photo.
        size: (height, width) of the photo.

    Returns:
        (height, width) uint8: 0 for background, 1 to 24 as DensePose counts.
    """
    left, top = math.floor(box[0]), math.floor(box[1])
    in_box = (max(1, int(box[3] - box[1])), max(1, int(box[2] - box[0])))
    parts = np.where(_largest(coarse, in_box) > 0, _largest(fine, in_box), np.uint8(0))
    labels = np.zeros(size, np.uint8)
    inside = labels[max(0, top) : max(0, top + in_box[0]), max(0, left) : max(0, left + in_box[1])]
    inside[:] = parts[max(0, -top) :, max(0, -left) :][: inside.shape[0], : inside.shape[1]]
    return labels


def _largest(scores: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the channel with the largest score after bilinear resizing, (height, width) uint8.

    One channel at a time is resized, since 25 channels of a large photo would take gigabytes.
    """
    highest = np.full(size, -np.inf, np.float32)
    channel = np.zeros(size, np.uint8)
    for number, plane in enumerate(scores):
        resized = cv2.resize(plane.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
        channel[resized > highest] = number
        np.maximum(highest, resized, out=highest)
    return channel
