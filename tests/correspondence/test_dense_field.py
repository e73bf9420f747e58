"""Matches that are interpolated between those that were found."""

import numpy as np
import pytest
from scipy.spatial import Delaunay

from siftvton.correspondence import Correspondences, with_dense_field

FRAME = (128, 96)


def affine(points: np.ndarray) -> np.ndarray:
    return points @ np.array([[0.7, 0.2], [-0.1, 0.8]]) + (9, 5)


def found(count: int = 8, seed: int = 0) -> Correspondences:
    person = 20 + np.rint(60 * np.random.default_rng(seed).random((count, 2)))
    return Correspondences(person, affine(person), FRAME)


def test_an_affine_map_is_continued_exactly_between_the_matches():
    matches = found()
    dense = with_dense_field(matches, reach=200)
    assert len(dense) > 50
    assert dense.frame == FRAME
    assert dense.person[:8].tolist() == matches.person.tolist()
    np.testing.assert_allclose(dense.garment, affine(dense.person), atol=1e-6)


def test_points_are_inside_the_hull_and_near_a_match():
    matches = found()
    added = with_dense_field(matches, reach=9).person[8:]
    assert len(added) > 10
    assert (Delaunay(matches.person).find_simplex(added) >= 0).all()
    distance = np.linalg.norm(added[:, None] - matches.person, axis=2).min(axis=1)
    assert 6 < distance.max() <= 9
    assert len(added) < len(with_dense_field(matches, reach=200).person[8:])


def test_every_point_that_is_allowed_is_there():
    corners = np.array([[-0.5, -0.5], [95.5, -0.5], [-0.5, 127.5], [95.5, 127.5]])
    dense = with_dense_field(Correspondences(corners, corners, FRAME), reach=1000)
    assert len(dense) == 4 + 32 * 24
    assert dense.person[4].tolist() == [1.5, 1.5]  # the middle of the first 4 × 4 pixels


def test_a_place_outside_the_garments_picture_is_left_out():
    matches = found()
    shifted = Correspondences(matches.person, matches.garment - (40, 0), FRAME)
    added = with_dense_field(shifted, reach=200).garment[8:]
    assert 0 < len(added) < len(with_dense_field(matches, reach=200)) - 8
    assert added[:, 0].min() >= -0.5


def test_matches_on_one_pixel_count_by_their_mean_place():
    matches, aside = found(), np.array([1, 0])
    twice = Correspondences(
        np.concatenate([matches.person, matches.person]),
        np.concatenate([matches.garment - aside, matches.garment + aside]),
        FRAME,
    )
    np.testing.assert_allclose(
        with_dense_field(twice, reach=50).garment[16:], with_dense_field(matches, reach=50).garment[8:], atol=1e-6
    )


@pytest.mark.parametrize(
    "person",
    [
        np.zeros((0, 2)),
        np.array([[10.0, 10], [20, 10], [10, 20]]),
        np.array([[10.0, 10], [20, 20], [30, 30], [40, 40], [50, 50]]),
        np.array([[10.0, 10], [50, 10], [30, 10.5], [40, 10], [60, 10]]),
        np.array([[10.0, 10]] * 5),
    ],
    ids=["none", "three", "on a line", "nearly on a line", "on one point"],
)
def test_matches_that_span_no_area_stay_as_they_are(person: np.ndarray):
    matches = Correspondences(person, person, FRAME)
    assert with_dense_field(matches, reach=20) is matches
