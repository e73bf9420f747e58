"""RANSAC for a homography, as it cleaned the published correspondences, with repeatable random draws.

Letters: N matches, S samples of four matches.
"""

from collections import Counter

import numpy as np

from siftvton.draws import numpy_generator

RUNS = 5
BATCH = 100  # samples between two checks of the confidence
FEWEST, MOST = 200, 1000  # samples in a run
SLIVER = 1e-3  # px²; three points count as on one line if their triangle is smaller


def largest_consensus(person: np.ndarray, garment: np.ndarray, threshold: float, confidence: float) -> np.ndarray:
    """Inliers of a homography from person to garment; none if no four points determine one.

    A run draws ``FEWEST`` samples of four matches. It then draws more until it reaches the confidence that one sample
    had no outlier, or until it has drawn ``MOST``. Each sample gives a homography, and the run keeps the largest set of
    matches that one of them fits within ``threshold``. About one run in a few hundred keeps another set than the
    others, so ``RUNS`` runs are made and the most frequent set is returned.

    ``cv2.findHomography`` is not used: it stops as soon as it reaches the confidence, after about ten samples of good
    matches, and keeps other sets in one case of six.

    Args:
        person, garment: (N, 2) points in pixels, aligned; at least four.
        threshold: largest distance on the garment's picture, in pixels.
        confidence: probability, below 1, that at least one sample had no outlier.

    Returns:
        (N,) booleans; the same matches always give the same result.
    """
    # Centred points keep the products below precise.
    person, garment = (points.astype(np.float64) - points.mean(axis=0) for points in (person, garment))
    generator = numpy_generator("homography", len(person))
    best = np.zeros((RUNS, len(person)), bool)
    drawn, needed = 0, float(FEWEST)
    while drawn < min(needed, MOST):
        size = BATCH if drawn else FEWEST
        samples = generator.random((RUNS * size, len(person))).argpartition(3, axis=1)[:, :4]  # (RUNS·size, 4)
        inliers = _inliers(person, garment, samples, threshold).reshape(RUNS, size, -1)
        largest = inliers[np.arange(RUNS), inliers.sum(axis=2).argmax(axis=1)]  #                (RUNS, N)
        larger = largest.sum(axis=1) > best.sum(axis=1)
        best[larger] = largest[larger]
        drawn += size
        needed = max(_samples_needed(share, confidence) for share in best.mean(axis=1))
    return np.frombuffer(Counter(run.tobytes() for run in best).most_common(1)[0][0], bool)


def _samples_needed(share: float, confidence: float) -> float:
    """How many samples of four to draw so that one has no outlier, at this confidence and this share of inliers.

    Source: Fischler & Bolles 1981, the paper's [6].
    """
    clean = share**4
    return np.log1p(-confidence) / np.log1p(-clean) if 0 < clean < 1 else MOST * (clean == 0)


def _inliers(person: np.ndarray, garment: np.ndarray, samples: np.ndarray, threshold: float) -> np.ndarray:
    """(S, N) booleans: which matches the homography of each sample (S, 4) fits within ``threshold``."""
    matrix = _from_basis(garment[samples]) @ _adjugate(_from_basis(person[samples]))  #  (S, 3, 3)
    x, y, w = np.moveaxis(matrix @ _homogeneous(person).T, 1, 0)  #                       (S, N) each
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # such points are not inliers
        close = (x / w - garment[:, 0]) ** 2 + (y / w - garment[:, 1]) ** 2 < threshold**2
    return close & ~(_has_sliver(person[samples]) | _has_sliver(garment[samples]))[:, None]


def _from_basis(points: np.ndarray) -> np.ndarray:
    """(S, 3, 3): the matrix that maps the projective basis to four points (S, 4, 2), up to scale.

    Its columns are the first three points. Cramer's rule gives each a factor, a determinant, so that the columns add up
    to the fourth point (Hartley & Zisserman 2004, §2.3).
    """
    a, b, c, d = np.moveaxis(_homogeneous(points), 1, 0)  #                               (S, 3) each
    factors = [(d * np.cross(*others)).sum(axis=1, keepdims=True) for others in ((b, c), (c, a), (a, b))]
    return np.stack([point * factor for point, factor in zip((a, b, c), factors, strict=True)], axis=2)


def _adjugate(matrix: np.ndarray) -> np.ndarray:
    """(S, 3, 3): the inverse of each matrix times its determinant."""
    a, b, c = np.moveaxis(matrix, 2, 0)
    return np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)


def _has_sliver(points: np.ndarray) -> np.ndarray:
    """(S,) booleans: whether three of four points (S, 4, 2) are on one line, so that they determine no homography."""
    slivers = []
    for corners in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)):
        first, second, third = (points[:, corner] for corner in corners)
        (across, down), (across_2, down_2) = (second - first).T, (third - first).T
        slivers.append(np.abs(across * down_2 - down * across_2) / 2 < SLIVER)
    return np.logical_or.reduce(slivers)


def _homogeneous(points: np.ndarray) -> np.ndarray:
    """(…, 2) -> (…, 3): append a 1 to each point."""
    return np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1)
