import cv2
import numpy as np
import pytest
from shifted_print import FRAME, SHIFT, scene

from siftvton.correspondence import find_correspondences, matcher
from siftvton.correspondence.asift import detect_in_views, match_views, root
from siftvton.correspondence.key_points import KeyPoints
from siftvton.correspondence.sift import detect, match_detected


def compressed(share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A print, the same print with its width compressed to a share, and the (2, 3) matrix that does it."""
    garment = scene()[1]
    matrix = np.array([[share, 0, 20], [0, 1, 0]])
    return cv2.warpAffine(garment, matrix, garment.shape[1::-1]), garment, matrix


def test_a_compressed_print_has_more_right_matches_than_sift_finds() -> None:
    person, garment, matrix = compressed(0.45)
    right = []
    for found in (
        match_detected(detect(person), detect(garment)),
        match_views(detect_in_views(person), detect_in_views(garment)),
    ):
        exact = found.garment.xy @ matrix[:, :2].T + matrix[:, 2]
        error = np.linalg.norm(found.person.xy - exact, axis=1)
        right.append((error < 2).sum())
    assert right[1] > 3 * right[0]
    assert (error < 2).mean() > 0.8


@pytest.mark.parametrize("joint", [False, True])
def test_asift_by_name_gives_correspondences(joint: bool) -> None:
    found = find_correspondences(*scene(), frame=FRAME, joint=joint, matcher=matcher("asift"))
    assert len(found) > 40
    error = np.linalg.norm(found.garment - found.person - SHIFT, axis=1)
    assert np.median(error) < 0.5
    assert (error < 4).mean() > 0.95


def test_points_are_inside_the_picture_and_have_neither_size_nor_angle() -> None:
    picture = scene()[0]
    points, descriptors = detect_in_views(picture)
    assert len(points) == len(descriptors) > len(detect(picture)[0])
    assert (points.xy >= 0).all()
    assert (points.xy <= np.array(picture.shape[1::-1]) - 1).all()
    assert points.size is None
    assert points.angle is None


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (2, 300)])
def test_an_even_picture_has_no_match(size: tuple[int, int]) -> None:
    even = detect_in_views(np.zeros((*size, 3), np.uint8))
    assert len(even[0]) == 0
    assert len(match_views(even, detect_in_views(scene()[0]))) == 0
    assert len(match_views(detect_in_views(scene()[0]), even)) == 0


def test_root_descriptors_have_length_one() -> None:
    descriptors = np.zeros((2, 128), np.float32)
    descriptors[0, :4] = 9, 16, 0, 0
    rooted = root(descriptors)
    np.testing.assert_allclose(rooted[0, :3], [0.6, 0.8, 0], atol=1e-6)
    assert (rooted[1] == 0).all()
    assert rooted.dtype == np.float32


def at(*x: float, values: tuple[float, ...]) -> tuple[KeyPoints, np.ndarray]:
    """Points in a row, with descriptors that differ along their first axis only."""
    descriptors = np.zeros((len(x), 128), np.float32)
    descriptors[:, 0] = values
    xy = np.stack([np.array(x, np.float32), np.zeros(len(x), np.float32)], axis=1)
    return KeyPoints.at(xy, np.zeros((1, 100, 3), np.uint8)), descriptors


def test_the_ratio_test_compares_with_the_nearest_point_at_another_spot() -> None:
    person = at(5, 6, values=(0, 20))
    near, far = (at(20, x, 90, values=(1, 1.1, 40)) for x in (22, 60))
    assert match_views(person, near).person.xy[:, 0].tolist() == [5]
    assert match_views(person, near).garment.xy[:, 0].tolist() == [20]
    assert len(match_views(person, far)) == 0


def test_matches_are_sorted_by_distance() -> None:
    found = match_views(at(1, 2, values=(3, 39.5)), at(20, 90, values=(1, 40)))
    assert found.distance.tolist() == [0.5, 2]
    assert found.person.xy[:, 0].tolist() == [2, 1]
