import numpy as np
import pytest

from siftvton.correspondence import Correspondences


def points(*rows: tuple[float, float]) -> np.ndarray:
    return np.array(rows, np.float64).reshape(-1, 2)


def test_resizing_moves_points_by_half_pixels() -> None:
    matches = Correspondences(points((0, 0), (383, 511)), points((10, 20), (-0.5, -0.5)), (512, 384))
    doubled = matches.resized((1024, 768))
    np.testing.assert_allclose(doubled.person, [[0.5, 0.5], [766.5, 1022.5]])
    np.testing.assert_allclose(doubled.garment, [[20.5, 40.5], [-0.5, -0.5]])
    assert doubled.frame == (1024, 768)


def test_resizing_takes_height_for_y_and_width_for_x() -> None:
    resized = Correspondences(points((9.5, 9.5)), points((3, 1)), (20, 40)).resized((200, 40))
    np.testing.assert_allclose(resized.person, [[9.5, 99.5]])
    np.testing.assert_allclose(resized.garment, [[3, 14.5]])


def test_resizing_there_and_back_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    matches = Correspondences(generator.uniform(0, 300, (50, 2)), generator.uniform(0, 300, (50, 2)), (512, 384))
    back = matches.resized((96, 640)).resized((512, 384))
    np.testing.assert_allclose(back.person, matches.person, atol=1e-9)
    np.testing.assert_allclose(back.garment, matches.garment, atol=1e-9)


def test_resizing_commutes_with_mirroring() -> None:
    person = points((3.25, 7), (100, 200))
    mirrored = person * [-1, 1] + [383, 0]
    one = Correspondences(mirrored, mirrored, (512, 384)).resized((128, 96)).person
    other = Correspondences(person, person, (512, 384)).resized((128, 96)).person * [-1, 1] + [95, 0]
    np.testing.assert_allclose(one, other)


def test_rounding_goes_half_to_even() -> None:
    matches = Correspondences(points((0.5, 1.5), (2.5, 2.4999)), points((3.5, -0.4), (7, 8)), (16, 16)).rounded()
    np.testing.assert_array_equal(matches.person, [[0, 2], [2, 2]])
    np.testing.assert_array_equal(matches.garment, [[4, 0], [7, 8]])


def test_no_match_is_a_value_like_any_other() -> None:
    none = Correspondences.empty((512, 384))
    assert len(none) == 0
    assert len(none.rounded().resized((64, 48))) == 0


@pytest.mark.parametrize(
    ("person", "garment", "frame"),
    [
        (points((1, 1)), points((1, 1), (2, 2)), (8, 8)),
        (points((1, 1)).astype(np.float32), points((1, 1)), (8, 8)),
        (np.zeros((1, 3)), np.zeros((1, 3)), (8, 8)),
        (points((np.nan, 1)), points((1, 1)), (8, 8)),
        (points((1, 1)), points((1, 1)), (8, 0)),
    ],
    ids=["lengths", "float32", "three columns", "NaN", "empty frame"],
)
def test_what_is_no_correspondence_is_refused(person: np.ndarray, garment: np.ndarray, frame: tuple[int, int]) -> None:
    with pytest.raises(AssertionError):
        Correspondences(person, garment, frame)
