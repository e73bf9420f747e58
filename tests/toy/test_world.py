"""The toy world's pictures: they are repeatable, differ between splits, and the exact maps are exact."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from siftvton.correspondence.regions import BODY_PARTS, densepose_labels
from siftvton.data.layouts.polarity import MID_GREY
from siftvton.toy.world.flat import render_garment
from siftvton.toy.world.frame import to_pixels, to_world
from siftvton.toy.world.garments import PRINTS, SLEEVES, Garment, sample_garment
from siftvton.toy.world.persons import Arm, Person, sample_person
from siftvton.toy.world.render import Rendering, render

SMALL = (256, 192)
ARMS_DOWN = (Arm(14, 8), Arm(14, 8))


def without_light(person: Person) -> Person:
    """The same person photographed without light, folds' shadows, colour cast, blur and noise."""
    return replace(person, light=0.0, wrinkles=0.0, cast=(1.0, 1.0, 1.0), noise=0.0, blur=0.0)


@pytest.fixture(scope="module")
def renderings() -> list[Rendering]:
    """Different persons in different garments."""
    return [render(sample_person(3, "train", i), sample_garment(4, "train", i), *SMALL) for i in range(24)]


def test_the_same_seed_gives_the_same_pixels() -> None:
    first, second = (render(sample_person(5, "test", 7), sample_garment(5, "test", 7)) for _ in range(2))
    for field in fields(Rendering):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_seed_split_and_index_each_give_another_person_and_garment() -> None:
    keys = [(seed, split, index) for seed in (0, 1) for split in ("train", "test") for index in range(200)]
    assert len({sample_person(*key) for key in keys}) == len({sample_garment(*key) for key in keys}) == len(keys)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(AssertionError, match="validation"):
        sample_person(0, "validation", 0)


def test_a_fifth_of_the_garments_are_plain_and_every_kind_occurs() -> None:
    garments = [sample_garment(0, "train", index) for index in range(2000)]
    assert np.mean([garment.print == "plain" for garment in garments]) == pytest.approx(0.2, abs=0.03)
    assert {garment.print for garment in garments} == set(PRINTS)
    assert {garment.sleeve for garment in garments} == set(SLEEVES)


def test_arms_and_hair_hide_some_garments() -> None:
    persons = [sample_person(0, "train", index) for index in range(1000)]
    crossing = [any(arm.fore_angle < -70 for arm in person.arms) for person in persons]
    assert 0.2 < np.mean(crossing) < 0.6
    assert 0.1 < np.mean([any(person.hair_in_front) for person in persons]) < 0.5


def test_pictures_have_the_documented_shapes_and_types(renderings: list[Rendering]) -> None:
    for field in fields(Rendering):
        array = getattr(renderings[0], field.name)
        assert array.shape[:2] == SMALL, field.name
    first = renderings[0]
    pictures = (first.photo, first.densepose, first.agnostic, first.garment)
    assert all(picture.shape == (*SMALL, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert all(mask.dtype == bool for mask in (first.agnostic_mask, first.worn_mask, first.garment_mask))
    assert all(labels.dtype == np.uint8 for labels in (first.densepose_labels, first.parsing, first.garment_parsing))
    assert first.person_to_garment.shape == (*SMALL, 2)
    assert first.person_to_garment.dtype == np.float32


def test_the_map_is_nan_exactly_where_no_garment_is_visible(renderings: list[Rendering]) -> None:
    for rendering in renderings:
        assert rendering.worn_mask.any()
        np.testing.assert_array_equal(np.isnan(rendering.person_to_garment).any(-1), ~rendering.worn_mask)
        np.testing.assert_array_equal(rendering.worn_mask, rendering.parsing == 5)


def test_the_map_points_at_the_garment(renderings: list[Rendering]) -> None:
    for rendering in renderings:
        column, row = np.rint(rendering.person_to_garment[rendering.worn_mask]).astype(int).T
        one_wider = cv2.dilate(rendering.garment_mask.astype(np.uint8), np.ones((3, 3)))  # half covered edge pixels
        assert one_wider[row, column].all()


def test_sleeves_are_worn_on_their_own_arm(renderings: list[Rendering]) -> None:
    """The right sleeve is on the right arm in both pictures; loose cloth and seams let a few pixels differ."""
    part_of = {"torso": 5, "right_arm": 22, "left_arm": 21}
    agreeing = dict.fromkeys(part_of, 0)
    seen = dict.fromkeys(part_of, 0)
    for rendering in renderings:
        for region, label in part_of.items():
            where = rendering.worn_mask & np.isin(rendering.densepose_labels, BODY_PARTS[region])
            column, row = np.rint(rendering.person_to_garment[where]).astype(int).T
            agreeing[region] += (rendering.garment_parsing[row, column] == label).sum()
            seen[region] += where.sum()
    for region in part_of:
        assert agreeing[region] / seen[region] > 0.93, region


def test_the_right_arm_is_at_the_left_of_the_picture() -> None:
    person = replace(sample_person(0, "train", 0), arms=ARMS_DOWN)
    rendering = render(person, replace(sample_garment(0, "train", 0), sleeve="short", sleeve_reach=0.3), *SMALL)
    column = np.broadcast_to(np.arange(SMALL[1]), SMALL)

    def middle(labels: np.ndarray, parts: tuple[int, ...]) -> float:
        return float(column[np.isin(labels, parts)].mean())

    assert middle(rendering.densepose_labels, BODY_PARTS["right_arm"]) < 80
    assert middle(rendering.densepose_labels, BODY_PARTS["left_arm"]) > 112
    assert middle(rendering.densepose_labels, (3, 6, 9, 13)) < middle(rendering.densepose_labels, (4, 5, 10, 14))
    assert middle(rendering.garment_parsing, (22,)) < middle(rendering.garment_parsing, (5,))
    assert middle(rendering.garment_parsing, (21,)) > middle(rendering.garment_parsing, (5,))


@pytest.mark.parametrize("index", range(8))
def test_the_photo_is_the_cloth_seen_through_the_map(index: int) -> None:
    """Without light, the worn garment has the colours of the flat picture at the points that the map gives."""
    person = without_light(sample_person(9, "train", index))
    garment = replace(sample_garment(9, "train", index), creases=0.0)
    rendering = render(person, garment)
    inside = cv2.erode(rendering.worn_mask.astype(np.uint8), np.ones((5, 5))) > 0
    x, y = np.moveaxis(np.nan_to_num(rendering.person_to_garment), 2, 0)
    looked_up = cv2.remap(rendering.garment, x, y, cv2.INTER_LINEAR)
    whole = cv2.remap(cv2.erode(rendering.garment_mask.astype(np.uint8), np.ones((5, 5))), x, y, cv2.INTER_NEAREST)
    difference = np.abs(rendering.photo.astype(int) - looked_up).max(-1)[inside & (whole > 0)]
    # arms cast a shadow, and where a seam or a collar covers another part, the flat picture shows the upper one
    assert np.mean(difference <= 3) > 0.9


def test_a_map_off_by_a_few_pixels_would_be_noticed() -> None:
    """The test above is sharp enough: with the map moved by 3 px, the pictures differ on a print."""
    index = next(i for i in range(50) if sample_garment(9, "train", i).print == "floral")
    garment = replace(sample_garment(9, "train", index), creases=0.0, heather=0.0)
    rendering = render(without_light(sample_person(9, "train", index)), garment)
    x, y = np.moveaxis(np.nan_to_num(rendering.person_to_garment), 2, 0)
    agreement = []
    for shift in (0.0, 3.0):
        looked_up = cv2.remap(rendering.garment, x + np.float32(shift), y, cv2.INTER_LINEAR)
        difference = np.abs(rendering.photo.astype(int) - looked_up).max(-1)[rendering.worn_mask]
        agreement.append(np.mean(difference <= 3))
    assert agreement[0] > agreement[1] + 0.1


def test_light_and_folds_change_the_worn_garment() -> None:
    person, garment = sample_person(1, "train", 2), sample_garment(1, "train", 2)
    lit, dull = render(person, garment, *SMALL), render(without_light(person), garment, *SMALL)
    np.testing.assert_array_equal(lit.worn_mask, dull.worn_mask)
    assert np.abs(lit.photo.astype(int) - dull.photo)[lit.worn_mask].mean() > 4


def test_the_agnostic_mask_covers_every_garment_and_does_not_reveal_it() -> None:
    for index in range(40):
        person = sample_person(6, "train", index)
        garments = [sample_garment(6, split, index) for split in ("train", "test")]
        first, second = (render(person, garment, *SMALL) for garment in garments)
        assert not (first.worn_mask & ~first.agnostic_mask).any()
        assert not (second.worn_mask & ~second.agnostic_mask).any()
        # the only difference: a loose sleeve may hide a little of the other arm's hand
        assert (first.agnostic_mask ^ second.agnostic_mask).mean() < 3e-3


def test_the_agnostic_image_is_the_photo_with_grey_in_the_mask(renderings: list[Rendering]) -> None:
    for rendering in renderings[:4]:
        assert (rendering.agnostic[rendering.agnostic_mask] == MID_GREY).all()
        kept = ~rendering.agnostic_mask
        np.testing.assert_array_equal(rendering.agnostic[kept], rendering.photo[kept])


def test_face_hair_and_hands_stay_visible(renderings: list[Rendering]) -> None:
    for rendering in renderings:
        assert not rendering.agnostic_mask[np.isin(rendering.parsing, (2, 13))].any()
        hands = np.isin(rendering.densepose_labels, (3, 4)) & np.isin(rendering.parsing, (14, 15))
        assert rendering.agnostic_mask[hands].mean() < 0.5


def test_the_densepose_picture_reads_back_as_its_labels(renderings: list[Rendering]) -> None:
    for rendering in renderings[:6]:
        np.testing.assert_array_equal(densepose_labels(rendering.densepose), rendering.densepose_labels)
    parts = {int(part) for rendering in renderings for part in np.unique(rendering.densepose_labels)}
    assert parts == {0, 2, 3, 4, 9, 10, *range(15, 25)}  # shins are below the picture


def test_the_body_does_not_depend_on_the_garment() -> None:
    person = sample_person(2, "train", 1)
    first, second = (render(person, sample_garment(2, "train", index), *SMALL) for index in (1, 2))
    np.testing.assert_array_equal(first.densepose_labels, second.densepose_labels)
    assert (first.worn_mask != second.worn_mask).any()


def test_most_of_the_garment_is_on_labelled_parts(renderings: list[Rendering]) -> None:
    shares = [(r.worn_mask & (r.densepose_labels > 0)).sum() / r.worn_mask.sum() for r in renderings]
    assert min(shares) > 0.75
    assert np.mean(shares) > 0.88


def test_all_sizes_show_the_same_world() -> None:
    person, garment = without_light(sample_person(8, "train", 3)), sample_garment(8, "train", 3)
    large, small = render(person, garment, 512, 384), render(person, garment, 256, 192)
    halved = cv2.resize(large.photo, (192, 256), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(halved - small.photo).mean() < 4
    assert (large.worn_mask[::2, ::2] != small.worn_mask).mean() < 0.01
    both = large.worn_mask[::2, ::2] & small.worn_mask
    both = cv2.erode(both.astype(np.uint8), np.ones((5, 5))) > 0
    at_large = to_world(large.person_to_garment[::2, ::2], 512, 384)[both]
    at_small = to_world(small.person_to_garment, 256, 192)[both]
    # a pixel of the small picture is half a pixel of the large one further to the right and down
    assert np.median(np.abs(at_large - at_small)) < 1.5


def test_pixels_and_world_agree_on_the_half_pixel() -> None:
    np.testing.assert_allclose(to_pixels(np.array((0.5, 0.5)), 256, 192), (0, 0))
    np.testing.assert_allclose(to_world(to_pixels(np.array((3.0, 7.0)), 1024, 768), 1024, 768), (3, 7))


@pytest.mark.parametrize(("sleeve", "labels"), [("none", {0, 5}), ("short", {0, 5, 21, 22})])
def test_the_flat_parsing_labels_the_parts_that_a_garment_has(sleeve: str, labels: set[int]) -> None:
    reach = 0.0 if sleeve == "none" else 0.3
    flat = render_garment(replace(sample_garment(0, "train", 0), sleeve=sleeve, sleeve_reach=reach), *SMALL)
    assert set(np.unique(flat.parsing).tolist()) == labels
    assert not ((flat.parsing > 0) & ~flat.mask).any()
    assert (flat.picture[:10] == 255).all()


def test_garments_fit_into_their_picture() -> None:
    for index in range(60):
        garment: Garment = sample_garment(11, "train", index)
        mask = render_garment(garment, *SMALL).mask
        border = np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1]))
        assert not border.any(), index
