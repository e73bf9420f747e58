from contextlib import nullcontext

import cv2
import numpy as np
import pytest

from siftvton.correspondence import sift


def texture(height: int = 128, width: int = 96, seed: int = 0) -> np.ndarray:
    """Smooth noise in colour, rich in key points."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height // 4, width // 4, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def test_a_blob_is_found_where_it_is_with_its_colour() -> None:
    picture = np.full((128, 96, 3), 40, np.uint8)
    cv2.circle(picture, (30, 80), 8, (250, 160, 90), -1)
    points, descriptors = sift.detect(picture)
    nearest = np.linalg.norm(points.xy - [30, 80], axis=1).argmin()
    np.testing.assert_allclose(points.xy[nearest], [30, 80], atol=0.5)
    assert points.rgb[nearest].tolist() == [250, 160, 90]
    assert 8 < points.size[nearest] < 24
    assert descriptors.shape == (len(points), 128)
    assert (points.xy.dtype, descriptors.dtype) == (np.float32, np.float32)


def test_sift_weighs_the_red_channel_as_if_it_were_blue() -> None:
    picture = texture()
    red_as_blue = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2RGB)
    red_as_red = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    ours = sift.detect(picture)[0].xy
    np.testing.assert_array_equal(ours, sift.detect(red_as_blue)[0].xy)
    assert not np.array_equal(ours, sift.detect(red_as_red)[0].xy)


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (2, 300)])
def test_an_even_picture_has_no_key_point(size: tuple[int, int]) -> None:
    points, descriptors = sift.detect(np.zeros((*size, 3), np.uint8))
    assert len(points) == 0
    assert descriptors.shape == (0, 128)
    assert len(sift.match_detected((points, descriptors), sift.detect(texture()))) == 0
    assert len(sift.match_detected(sift.detect(texture()), (points, descriptors))) == 0


# Painting and cropping


def test_painting_keeps_the_inside_and_nothing_else() -> None:
    picture = texture()
    inside = np.zeros(picture.shape[:2], bool)
    inside[:, 20:50] = True
    black, white = sift.painted(picture, inside, sift.BLACK), sift.painted(picture, inside, sift.WHITE)
    np.testing.assert_array_equal(black[inside], picture[inside])
    np.testing.assert_array_equal(white[inside], picture[inside])
    assert (black[~inside] == 0).all()
    assert (white[~inside] == 255).all()


@pytest.mark.parametrize("corner", [(0, 0), (131, 217), (330, 450)])
def test_key_points_are_the_whole_painted_pictures_though_less_is_searched(
    corner: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = corner
    noise = np.random.default_rng(0).uniform(0, 255, (64, 48, 3)).astype(np.uint8)
    picture = cv2.resize(noise, (384, 512), interpolation=cv2.INTER_CUBIC)
    area = np.zeros((512, 384), bool)
    area[y : y + 62, x : x + 54] = True
    whole, descriptors = sift.detect(sift.painted(picture, area, sift.BLACK))
    searched, detect = [], sift.detect
    monkeypatch.setattr(sift, "detect", lambda part: searched.append(part.size) or detect(part))
    points, found = sift.detect_in(picture, area, sift.BLACK)
    assert searched[0] < picture.size / 2
    assert len(points) == len(whole) > 10
    np.testing.assert_allclose(points.xy, whole.xy, atol=0.01)
    np.testing.assert_allclose(found, descriptors, atol=1)


def test_an_empty_area_has_no_key_point() -> None:
    picture = texture()
    points, descriptors = sift.detect_in(picture, np.zeros(picture.shape[:2], bool), sift.BLACK)
    assert (len(points), descriptors.shape) == (0, (0, 128))


def test_key_points_in_black_paint_are_the_same_bits_as_with_subnormal_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture, area = texture(512, 384), np.zeros((512, 384), np.uint8)
    cv2.ellipse(area, (190, 250), (30, 150), 30, 0, 360, 1, thickness=-1)  # blurring makes its edge subnormal
    points, descriptors = sift.detect_in(picture, area.astype(bool), sift.BLACK)
    monkeypatch.setattr(sift, "subnormals_as_zero", nullcontext)
    expected, of_expected = sift.detect_in(picture, area.astype(bool), sift.BLACK)
    np.testing.assert_array_equal(points.xy, expected.xy)
    np.testing.assert_array_equal(points.size, expected.size)
    np.testing.assert_array_equal(points.angle, expected.angle)
    np.testing.assert_array_equal(descriptors, of_expected)
    assert len(points) > 100


# The ratio test


def along_first_axis(*values: float) -> np.ndarray:
    descriptors = np.zeros((len(values), 128), np.float32)
    descriptors[:, 0] = values
    return descriptors


def test_the_ratio_test_requires_the_nearest_to_be_clearly_nearer() -> None:
    # Distances to the garment's 0 and 100: 44 and 56 (0.79), 45 and 55 (0.82), 10 and 90.
    person, garment = along_first_axis(44, 45, 10), along_first_axis(0, 100)
    of_person, of_garment, distance = sift.ratio_test(person, garment)
    assert (of_person.tolist(), of_garment.tolist(), distance.tolist()) == ([2, 0], [0, 0], [10, 44])
    assert sift.ratio_test(person, garment, ratio=0.5)[0].tolist() == [2]


def test_the_ratio_itself_does_not_pass() -> None:
    person, garment = along_first_axis(4, 3.9), along_first_axis(0, 12)  # 4 / 8 and 3.9 / 8.1
    assert sift.ratio_test(person, garment, ratio=0.5)[0].tolist() == [1]


def test_equal_distances_stay_in_the_person_s_order() -> None:
    person, garment = along_first_axis(3, 103, 2, 203, 303), along_first_axis(0, 100, 200, 300)
    assert sift.ratio_test(person, garment)[0].tolist() == [2, 0, 1, 3, 4]


@pytest.mark.parametrize(("person", "garment"), [(0, 5), (1, 5), (5, 1), (5, 0)])
def test_fewer_than_two_key_points_on_a_side_give_no_match(person: int, garment: int) -> None:
    generator = np.random.default_rng(0)
    descriptors = [generator.uniform(0, 100, (count, 128)).astype(np.float32) for count in (person, garment)]
    assert [len(each) for each in sift.ratio_test(*descriptors)] == [0, 0, 0]


def test_matches_of_a_shifted_picture_are_shifted() -> None:
    scene = texture(160, 160)
    person, garment = scene[16:144, 20:148], scene[:128, :128]
    matches = sift.match_detected(sift.detect(person), sift.detect(garment))
    shift = np.median(matches.garment.xy - matches.person.xy, axis=0)
    np.testing.assert_allclose(shift, [20, 16], atol=0.2)
    assert len(matches) > 20
