import cv2
import numpy as np
import pytest

from siftvton.correspondence.matching import regions_in_frame
from siftvton.correspondence.regions import PART_COLOURS, densepose_labels, regions

FRAME = (40, 60)


def half(left: bool) -> np.ndarray:
    mask = np.zeros(FRAME, bool)
    mask[:, :30] = left
    mask[:, 30:] = not left
    return mask


def strips(labels: np.ndarray | list[int]) -> np.ndarray:
    """Labels in vertical strips of equal width over the frame."""
    return np.repeat(np.asarray(labels, np.uint8)[None], FRAME[0], 0).repeat(FRAME[1] // len(labels), 1)


BODY = strips([2, 1, 16, 18, 20, 22, 15, 17, 19, 21, 6, 0])
PARTS = strips([5, 6, 7, 21, 22, 0])


# DensePose's colours


def test_part_colours_are_parula_s() -> None:
    assert PART_COLOURS.shape == (25, 3)
    assert PART_COLOURS[0].tolist() == [0, 0, 0]
    assert PART_COLOURS[2].tolist() == [20, 80, 194]
    assert len(np.unique(PART_COLOURS, axis=0)) == 25


def test_every_part_is_told_by_its_colour() -> None:
    labels = np.arange(25, dtype=np.uint8).reshape(5, 5)
    np.testing.assert_array_equal(densepose_labels(PART_COLOURS[labels]), labels)


def test_a_foot_as_red_as_the_torso_is_a_foot() -> None:
    """Telling parts by the red channel alone took feet for the torso."""
    assert PART_COLOURS[6, 0] == PART_COLOURS[2, 0]
    assert densepose_labels(PART_COLOURS[None, [6]]).tolist() == [[6]]


def test_a_jpeg_s_colours_are_told_by_the_nearest() -> None:
    labels = np.random.default_rng(0).integers(0, 25, (6, 8)).astype(np.uint8).repeat(32, 0).repeat(32, 1)
    written = cv2.imencode(".jpg", PART_COLOURS[labels][..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    read = cv2.imdecode(written, cv2.IMREAD_COLOR)[..., ::-1]
    assert not np.array_equal(read, PART_COLOURS[labels])
    inner = np.zeros((32, 32), bool)
    inner[8:24, 8:24] = True
    inner = np.tile(inner, (6, 8))
    np.testing.assert_array_equal(densepose_labels(read)[inner], labels[inner])


def test_any_colour_is_told_by_the_nearest_also_when_seen_before() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    distance = ((picture[:, :, None].astype(int) - PART_COLOURS.astype(int)) ** 2).sum(axis=3)
    for _ in range(2):
        np.testing.assert_array_equal(densepose_labels(picture), distance.argmin(axis=2))


# Areas and their fallbacks


def test_with_everything_there_are_three_regions_in_order() -> None:
    agnostic = half(left=True)
    found = regions(FRAME, FRAME, body=BODY, agnostic=agnostic, parts=PARTS)
    assert [region.name for region in found] == ["torso", "right_arm", "left_arm"]
    for region, body, parts in zip(
        found, [(2,), (16, 18, 20, 22), (15, 17, 19, 21)], [(5, 6, 7), (22,), (21,)], strict=True
    ):
        np.testing.assert_array_equal(region.person, np.isin(BODY, body) & agnostic)
        np.testing.assert_array_equal(region.garment, np.isin(PARTS, parts))
        assert region.person.dtype == region.garment.dtype == bool


def test_parsing_comes_before_the_garment_s_mask() -> None:
    torso = regions(FRAME, FRAME, body=BODY, parts=PARTS, garment=half(left=True))[0]
    np.testing.assert_array_equal(torso.garment, np.isin(PARTS, (5, 6, 7)))


@pytest.mark.parametrize("mask", [None, half(left=False)])
def test_without_parsing_all_regions_share_one_garment_area(mask: np.ndarray | None) -> None:
    found = regions(FRAME, FRAME, body=BODY, garment=mask)
    for region in found:
        np.testing.assert_array_equal(region.garment, np.ones(FRAME, bool) if mask is None else mask)
        assert region.garment is found[0].garment


def test_without_an_agnostic_mask_the_body_parts_remain() -> None:
    found = regions(FRAME, FRAME, body=BODY, parts=PARTS)
    np.testing.assert_array_equal(found[0].person, BODY == 2)
    np.testing.assert_array_equal(found[1].person, np.isin(BODY, (16, 18, 20, 22)))


@pytest.mark.parametrize("agnostic", [None, half(left=True)])
@pytest.mark.parametrize("parts", [None, PARTS])
def test_without_densepose_there_is_one_region(agnostic: np.ndarray | None, parts: np.ndarray | None) -> None:
    (region,) = regions(FRAME, FRAME, agnostic=agnostic, parts=parts)
    assert region.name == "whole"
    np.testing.assert_array_equal(region.person, np.ones(FRAME, bool) if agnostic is None else agnostic)
    np.testing.assert_array_equal(region.garment, np.ones(FRAME, bool) if parts is None else PARTS > 0)


def test_a_mask_of_another_size_than_its_picture_is_refused() -> None:
    with pytest.raises(AssertionError, match="a mask has shape"):
        regions(FRAME, FRAME, agnostic=np.ones((8, 8), bool))


# Side pictures of any size


def test_masks_are_resized_as_grey_levels_and_taken_above_128() -> None:
    # Halving: two columns of 255 and 2 average to 128.5, which rounds to 128 or 129; 255 and 0 to less.
    levels = np.array([[128, 128, 129, 129, 255, 0, 255, 3]], np.uint8).repeat(2, 0)
    (region,) = regions_in_frame((1, 4), agnostic_mask=levels, garment_mask=levels)
    resized = cv2.resize(levels, (4, 1), interpolation=cv2.INTER_LINEAR)
    assert resized.tolist() == [[128, 129, 128, 129]]
    assert region.person.tolist() == [[False, True, False, True]]
    assert region.garment.tolist() == [[False, True, False, True]]


def test_labels_are_resized_to_the_nearest() -> None:
    """Between two parts, a bilinear resize would find a third."""
    body, parts = (cv2.resize(labels, (40, 20), interpolation=cv2.INTER_NEAREST) for labels in (BODY, PARTS))
    torso, right_arm, left_arm = regions_in_frame((20, 40), densepose=PART_COLOURS[BODY], parsing=PARTS)
    np.testing.assert_array_equal(torso.person, body == 2)
    np.testing.assert_array_equal(left_arm.person, np.isin(body, (15, 17, 19, 21)))
    np.testing.assert_array_equal(right_arm.garment, parts == 22)
    np.testing.assert_array_equal(left_arm.garment, parts == 21)


# Categories


LEGS = strips([7, 9, 11, 13, 8, 10, 12, 14, 2, 15, 5, 6])
TROUSERS = strips([9, 10, 13, 5, 21, 0])


def test_a_lower_body_has_a_region_for_each_leg() -> None:
    right, left = regions(FRAME, FRAME, body=LEGS, parts=TROUSERS, category="lower_body")
    assert (right.name, left.name) == ("right_leg", "left_leg")
    np.testing.assert_array_equal(right.person, np.isin(LEGS, (7, 9, 11, 13)))
    np.testing.assert_array_equal(left.person, np.isin(LEGS, (8, 10, 12, 14)))
    np.testing.assert_array_equal(right.garment, np.isin(TROUSERS, (10, 13)))
    np.testing.assert_array_equal(left.garment, np.isin(TROUSERS, (9, 13)))


def test_a_dress_has_the_regions_of_both() -> None:
    found = {region.name: region for region in regions(FRAME, FRAME, body=LEGS, parts=TROUSERS, category="dresses")}
    assert list(found) == ["torso", "right_arm", "left_arm", "right_leg", "left_leg"]
    np.testing.assert_array_equal(found["torso"].person, LEGS == 2)
    np.testing.assert_array_equal(found["torso"].garment, np.isin(TROUSERS, (5, 13)))
    np.testing.assert_array_equal(found["right_leg"].garment, found["left_leg"].garment)


def test_without_densepose_a_lower_body_is_one_region() -> None:
    (region,) = regions(FRAME, FRAME, parts=TROUSERS, category="lower_body")
    np.testing.assert_array_equal(region.garment, np.isin(TROUSERS, (9, 10, 13)))
