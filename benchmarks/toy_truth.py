"""How right matches are in the toy world: their distances from the exact map, and intervals of the share of right ones.

A match is right if the exact map takes the person's point to within ``TOLERANCE`` of the garment's point.
"""

import numpy as np

from siftvton.draws import numpy_generator

TOLERANCE = 4.0  # px on the garment, in a picture of 512×384
RESAMPLES = 2000


def distances(person_to_garment: np.ndarray, person: np.ndarray, garment: np.ndarray) -> np.ndarray:
    """Return how far matches are from where the exact map takes the person's points.

    Args:
        person_to_garment: (height, width, 2) exact map, px; NaN where no garment is visible.
        person: (N, 2) points (x, y) on the person, px.
        garment: (N, 2) the matched points on the garment, px.

    Returns:
        (N,) px; NaN where no garment is visible.
    """
    column, row = np.rint(person).astype(int).T
    return np.linalg.norm(person_to_garment[row, column] - garment, axis=1)


def share_text(part: float, whole: float) -> str:
    """Return a share in percent; a dash if there is nothing to share."""
    return f"{part / whole:.1%}" if whole else "–"


def interval_text(counts: np.ndarray, *key: int | str) -> str:
    """Return the 95 % bootstrap interval, over pairs, of the share of right matches; a dash if there is no match.

    Args:
        counts: (pairs, 2) matches and right ones of each pair. Resamples without a match do not count.
        key: the key of the draws.
    """
    drawn = numpy_generator(*key).integers(0, len(counts), (RESAMPLES, len(counts)))
    every, right = counts[drawn].sum(axis=1).T
    if not every.any():
        return "–"
    low, high = np.percentile(right[every > 0] / every[every > 0], (2.5, 97.5))
    return f"{low:.1%} – {high:.1%}"
