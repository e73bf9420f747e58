"""The toy world's whole persons in tops, trousers, skirts and dresses: exact maps, legs, masks."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from siftvton.correspondence.regions import BODY_PARTS, GARMENT_PARTS, densepose_labels
from siftvton.data.layouts import CATEGORIES
from siftvton.prepare.labels import CIHP
from siftvton.toy.world.body import body_of
from siftvton.toy.world.frame import to_pixels
from siftvton.toy.world.garments import PRINTS
from siftvton.toy.world.joints import joints_of
from siftvton.toy.world.legs import legs_of, over_the_legs
from siftvton.toy.world.lower import KINDS, Lower, sample_lower
from siftvton.toy.world.outfits import Outfit, category_at, dressed, flat_picture, sample_clothing
from siftvton.toy.world.persons import Person, sample_person
from siftvton.toy.world.render import Rendering
from siftvton.toy.world.whole import render_whole

SMALL = (256, 192)


def drawn(seed: int, index: int) -> tuple[Person, Outfit]:
    return dressed(seed, "train", index, sample_clothing(seed, "train", index))


def without_light(person: Person) -> Person:
    return replace(person, light=0.0, wrinkles=0.0, cast=(1.0, 1.0, 1.0), noise=0.0, blur=0.0)


@pytest.fixture(scope="module")
def renderings() -> list[Rendering]:
    """Different persons in different garments, of each category in turn."""
    return [render_whole(*drawn(3, index), *SMALL) for index in range(18)]


def test_the_same_seed_gives_the_same_pixels() -> None:
    first, second = (render_whole(*drawn(5, 1), *SMALL) for _ in range(2))
    for field in fields(Rendering):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_a_whole_person_is_the_same_person_farther_away() -> None:
    near, far = sample_person(2, "train", 4), sample_person(2, "train", 4, framing="whole")
    assert near.legs is None
    assert far.legs is not None
    assert far.shoulder < 0.7 * near.shoulder
    kept = {"neck", "shoulder", "hip_shift", "folds", "legs"}
    assert all(getattr(near, f.name) == getattr(far, f.name) for f in fields(Person) if f.name not in kept)


def test_persons_are_in_the_photo_from_the_hair_to_the_shoes(renderings: list[Rendering]) -> None:
    for rendering in renderings:
        rows = np.flatnonzero((rendering.parsing > 0).any(1))
        assert 2 < rows[0] < 0.2 * SMALL[0]
        assert 0.93 * SMALL[0] < rows[-1] < SMALL[0] - 2
        assert {CIHP["left_shoe"], CIHP["right_shoe"]} <= set(np.unique(rendering.parsing).tolist())


def test_every_kind_and_print_occurs() -> None:
    lowers = [sample_lower(0, "train", index) for index in range(300)]
    assert {lower.kind for lower in lowers} == set(KINDS)
    assert {lower.print for lower in lowers} == set(PRINTS)
    assert {outfit.category for _, outfit in (drawn(0, index) for index in range(3))} == set(CATEGORIES)


def test_garments_fit_into_their_picture() -> None:
    for index in range(24):
        mask = flat_picture(sample_clothing(11, "train", index), *SMALL).mask
        assert not np.concatenate((mask[0], mask[-1], mask[:, 0], mask[:, -1])).any(), index


def test_the_flat_parsing_has_only_parts_of_the_category(renderings: list[Rendering]) -> None:
    for index, rendering in enumerate(renderings):
        allowed = {0, *sum(GARMENT_PARTS[category_at(index)].values(), ())}
        assert set(np.unique(rendering.garment_parsing).tolist()) <= allowed


def test_the_map_is_nan_exactly_where_no_garment_is_visible(renderings: list[Rendering]) -> None:
    for rendering in renderings:
        np.testing.assert_array_equal(np.isfinite(rendering.person_to_garment).all(-1), rendering.worn_mask)
        assert rendering.worn_mask.mean() > 0.01


@pytest.mark.parametrize("index", range(1, 9))
def test_the_photo_is_the_cloth_seen_through_the_map(index: int) -> None:
    person, outfit = drawn(9, index)
    plain = replace(outfit, garment=replace(outfit.garment, creases=0.0))
    rendering = render_whole(without_light(person), plain)
    inside = cv2.erode(rendering.worn_mask.astype(np.uint8), np.ones((3, 3))) > 0
    x, y = np.moveaxis(np.nan_to_num(rendering.person_to_garment), 2, 0)
    looked_up = cv2.remap(rendering.garment, x, y, cv2.INTER_LINEAR)
    whole = cv2.remap(cv2.erode(rendering.garment_mask.astype(np.uint8), np.ones((5, 5))), x, y, cv2.INTER_NEAREST)
    difference = np.abs(rendering.photo.astype(int) - looked_up).max(-1)[inside & (whole > 0)]
    assert np.mean(difference <= 3) > 0.9


@pytest.mark.parametrize("index", [i for i in range(1, 60, 3) if sample_lower(4, "train", i).kind == "trousers"][:4])
def test_each_leg_of_trousers_shows_its_own_half_of_the_cloth(index: int) -> None:
    rendering = render_whole(*drawn(4, index))
    for side in ("right_leg", "left_leg"):
        where = rendering.worn_mask & np.isin(rendering.densepose_labels, BODY_PARTS[side])
        column, row = np.rint(rendering.person_to_garment[where]).astype(int).T
        inside = (row >= 0) & (row < 512) & (column >= 0) & (column < 384)
        shown = rendering.garment_parsing[row[inside], column[inside]]
        (own,) = set(GARMENT_PARTS["lower_body"][side]) - {13}
        assert (shown[shown > 0] == own).mean() > 0.93


def test_the_mask_covers_the_garment_and_keeps_head_hands_and_shoes(renderings: list[Rendering]) -> None:
    for index, rendering in enumerate(renderings):
        assert (rendering.worn_mask & ~rendering.agnostic_mask).sum() <= 0.005 * rendering.worn_mask.sum()
        kept = [CIHP["hair"], CIHP["face"]]
        kept += [CIHP["upper_clothes"]] if category_at(index) == "lower_body" else []
        kept += [CIHP["trousers"], CIHP["skirt"], CIHP["left_leg"]] if category_at(index) == "upper_body" else []
        assert not rendering.agnostic_mask[np.isin(rendering.parsing, kept)].any()


def test_legs_have_densepose_labels_joints_and_a_skirt_that_hides_them() -> None:
    for index in range(6):
        person, outfit = drawn(7, index)
        torso = body_of(person).torso
        legs = legs_of(person, torso)
        rendering = render_whole(person, outfit, *SMALL)
        np.testing.assert_array_equal(densepose_labels(rendering.densepose), rendering.densepose_labels)
        joints = joints_of(person, SMALL)
        for side, leg in zip(("right", "left"), legs, strict=True):
            np.testing.assert_allclose(joints[f"{side}_ankle"], to_pixels(leg.centres[-1], *SMALL))
            middle = (joints[f"{side}_knee"] + joints[f"{side}_ankle"]) / 2
            assert rendering.densepose_labels[int(middle[1]), int(middle[0])] in (13, 14)
        hanging = over_the_legs(torso, legs)
        for leg in legs:
            along, across = hanging.coordinates(leg.centres[20:50])
            assert (np.abs(across) <= hanging.half_width(along)).all()


def test_a_garment_of_another_category_cannot_be_worn() -> None:
    with pytest.raises(AssertionError, match="lower_body for a person of upper_body"):
        dressed(0, "train", 0, sample_clothing(0, "train", 1))


def test_the_clothes_worn_with_a_garment_are_plain_and_do_not_change_with_it() -> None:
    first, second = sample_clothing(0, "train", 1), sample_clothing(0, "train", 4)
    (_, one), (_, other) = (dressed(0, "train", 1, garment) for garment in (first, second))
    assert isinstance(one.garment, Lower)
    assert one.companion == other.companion
    assert one.companion is not None
    assert one.companion.print == "plain"
