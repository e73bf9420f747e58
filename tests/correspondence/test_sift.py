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
    assert len(sift.match((points, descriptors), sift.detect(texture()))) == 0
    assert len(sift.match(sift.detect(texture()), (points, descriptors))) == 0


def along_first_axis(*values: float) -> np.ndarray:
    descriptors = np.zeros((len(values), 128), np.float32)
    descriptors[:, 0] = values
    return descriptors


def test_the_ratio_test_wants_the_nearest_clearly_nearer() -> None:
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
    matches = sift.match(sift.detect(person), sift.detect(garment))
    shift = np.median(matches.garment.xy - matches.person.xy, axis=0)
    np.testing.assert_allclose(shift, [20, 16], atol=0.2)
    assert len(matches) > 20


def test_matches_must_be_sorted() -> None:
    points, _ = sift.detect(texture())
    with pytest.raises(AssertionError, match="sorted"):
        sift.Matches(points[:2], points[:2], np.array([2, 1], np.float32))
