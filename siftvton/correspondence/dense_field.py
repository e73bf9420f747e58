"""A dense field of matches, interpolated between those that were found."""

from __future__ import annotations

import numpy as np

from siftvton.correspondence.correspondences import Correspondences

STEP = 4  # pixels between the points of the field


def with_dense_field(matches: Correspondences, reach: float) -> Correspondences:
    """Add interpolated matches: a point every ``STEP`` pixels of the person's photo, where matches surround it.

    A thin-plate spline through the matches gives the place on the garment. A point is added if it is inside the convex
    hull of the matched points, at most ``reach`` from the nearest of them, and its place is inside the garment's
    picture. Matches on one pixel of the person count as one, with their mean place.

    Args:
        matches: fewer than four of them, or matches on one line, span no area and are returned as they are.
        reach: pixels.

    Returns:
        The matches, followed by the interpolated ones.
    """
    from scipy.interpolate import RBFInterpolator  # imported here, since most runs have no use for SciPy
    from scipy.spatial import Delaunay, KDTree

    person, which = np.unique(matches.person, axis=0, return_inverse=True)  #         (N, 2), distinct
    if len(person) < 4 or _thickness(person) < 1:
        return matches
    count = np.bincount(which)
    garment = np.stack([np.bincount(which, axis) / count for axis in matches.garment.T], axis=1)  # (N, 2)
    height, width = matches.frame
    y, x = np.mgrid[0 : height // STEP, 0 : width // STEP]
    points = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * STEP - 0.5  #         (M, 2)
    points = points[Delaunay(person).find_simplex(points) >= 0]
    points = points[KDTree(person).query(points)[0] <= reach]
    if not len(points):
        return matches
    places = RBFInterpolator(person, garment, kernel="thin_plate_spline")(points)
    inside = ((places >= -0.5) & (places < (width - 0.5, height - 0.5))).all(axis=1)
    return Correspondences(
        np.concatenate([matches.person, points[inside]]),
        np.concatenate([matches.garment, places[inside]]),
        matches.frame,
    )


def _thickness(points: np.ndarray) -> float:
    """The standard deviation of points (N, 2) across the line that fits them best, pixels."""
    return float(np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[1]) / len(points) ** 0.5
