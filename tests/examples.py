"""Inputs that several tests make."""

import numpy as np

from siftvton.correspondence import Correspondences


def random_matches(count: int, frame: tuple[int, int], seed: int = 0) -> Correspondences:
    """``count`` matches anywhere in a frame of (height, width) pixels."""
    points = np.random.default_rng(seed).random((2, count, 2)) * np.array([frame[1], frame[0]])
    return Correspondences(points[0], points[1], frame)
