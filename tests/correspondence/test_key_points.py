import numpy as np
import pytest

from siftvton.correspondence import KeyPointMatches, KeyPoints
from siftvton.correspondence.regions import Region

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def at(*rows: tuple[float, float]) -> KeyPoints:
    return KeyPoints.at(np.array(rows).reshape(-1, 2), PICTURE)


def test_a_point_has_the_colour_of_the_nearest_pixel() -> None:
    points = at((2.4, 0.6), (3, 2))
    np.testing.assert_array_equal(points.rgb, PICTURE[[1, 2], [2, 3]])
    assert points.xy.dtype == np.float32


def test_a_point_on_the_picture_s_edge_has_the_colour_of_the_border() -> None:
    points = at((-0.5, -0.5), (5.5, 3.5))
    np.testing.assert_array_equal(points.rgb, PICTURE[[0, 3], [0, 5]])


def test_a_selection_keeps_what_is_measured_and_what_is_not() -> None:
    points = KeyPoints.at(np.zeros((3, 2)), PICTURE, size=np.array([1.0, 2.0, 3.0], np.float32))
    chosen = points[np.array([2, 0])]
    assert chosen.size is not None
    assert chosen.size.tolist() == [3, 1]
    assert chosen.angle is None
    assert len(chosen) == 2


def test_arrays_of_another_length_are_refused() -> None:
    with pytest.raises(AssertionError, match="points and colours have shapes"):
        KeyPoints(np.zeros((2, 2)), None, None, np.zeros((1, 3), np.uint8))
    with pytest.raises(AssertionError, match="2 points have sizes of shape"):
        KeyPoints.at(np.zeros((2, 2)), PICTURE, size=np.zeros(3))
    with pytest.raises(AssertionError, match="2 points have angles of shape"):
        KeyPoints.at(np.zeros((2, 2)), PICTURE, angle=np.zeros(1))
    with pytest.raises(AssertionError, match="not aligned"):
        KeyPointMatches(at((1, 1)), at((1, 1), (2, 2)), np.zeros(1))


def test_matches_must_be_sorted() -> None:
    points = at((1, 1), (2, 2))
    with pytest.raises(AssertionError, match="sorted"):
        KeyPointMatches(points, points, np.array([2, 1], np.float32))


def test_ranking_puts_the_best_first_and_leaves_equals_in_order() -> None:
    person, garment = at((0, 0), (1, 0), (2, 0), (3, 0)), at((0, 1), (1, 1), (2, 1), (3, 1))
    ranked = KeyPointMatches.ranked(person, garment, np.array([0.5, 0.2, 0.5, 0.1]))
    assert ranked.person.xy[:, 0].tolist() == ranked.garment.xy[:, 0].tolist() == [3, 1, 0, 2]
    assert ranked.distance.tolist() == [0.1, 0.2, 0.5, 0.5]


def test_matches_within_a_region_have_both_points_in_it() -> None:
    left, right = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    left[:, :3], right[:, 3:] = True, True
    person, garment = at((0, 0), (2.4, 1), (2.6, 1), (1, 2)), at((4, 0), (2.6, 3.5), (5, 1), (2.4, 2))
    matches = KeyPointMatches(person, garment, np.arange(4.0))
    assert matches.within(Region("torso", left, right)).distance.tolist() == [0, 1]
    assert matches.within(Region("torso", right, left)).distance.tolist() == []
