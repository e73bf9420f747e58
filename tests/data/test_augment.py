from dataclasses import replace

import numpy as np
import pytest
import torch

from siftvton.correspondence import Correspondences
from siftvton.data.augment import (
    AugmentationDraws,
    ItemPictures,
    Placement,
    affine_map,
    augment,
    change_contrast,
    inside,
    move,
    reset_painted,
    shift_hsv,
    warp,
)
from siftvton.draws import torch_generator

HEIGHT, WIDTH = 120, 90
NOTHING = AugmentationDraws(flip=False, person=None, garment=None, hsv=None, contrast=None)


def spot(x: float, y: float) -> np.ndarray:
    """A soft bright spot, (height, width) uint8."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.rint(255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 4.0**2))).astype(np.uint8)


def centroid(picture: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    weight = picture.astype(np.float64)
    return np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()


def item(points: np.ndarray | None = None, **pictures: np.ndarray) -> ItemPictures:
    drawn = np.random.default_rng(0)

    def picture() -> np.ndarray:
        return drawn.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)

    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[40:80, 30:60] = 255
    points = np.zeros((0, 2)) if points is None else points
    made = ItemPictures(
        picture(), picture(), picture(), picture(), mask, mask // 2, Correspondences(points, points, (HEIGHT, WIDTH))
    )
    return replace(made, **pictures)


@pytest.mark.parametrize(
    ("flip", "placement"),
    [
        (True, None),
        (False, Placement((0.1, 0.0), (1, 1), 0)),
        (False, Placement((-0.05, 0.13), (1, 1), 0)),
        (False, Placement((0, 0), (1.2, 0.8), 0)),
        (False, Placement((0, 0), (1, 1), 10)),
        (False, Placement((0, 0), (1, 1), -7)),
        (True, Placement((0.12, -0.07), (0.85, 1.15), 9)),
    ],
)
@pytest.mark.parametrize("point", [(44.5, 59.5), (31.0, 70.0), (60.25, 45.75)])
def test_points_move_as_pixels_do(flip: bool, placement: Placement | None, point: tuple[float, float]) -> None:
    affine = affine_map(flip, placement, HEIGHT, WIDTH)
    seen = centroid(warp(spot(*point), affine))
    np.testing.assert_allclose(seen, move(np.array([point]), affine)[0], atol=0.1)


def test_flip_is_the_mirror_image() -> None:
    picture = item().image
    affine = affine_map(True, None, HEIGHT, WIDTH)
    np.testing.assert_array_equal(warp(picture, affine), picture[:, ::-1])
    np.testing.assert_array_equal(move(np.array([[0.0, 5.0], [20.25, 6.0]]), affine), [[WIDTH - 1, 5], [68.75, 6]])


def test_placement_follows_the_flip() -> None:
    """A shift to the right goes to the right whether or not the picture was flipped before."""
    shift = Placement((0.1, 0.2), (1, 1), 0)
    moved = move(np.array([[10.0, 10.0]]), affine_map(True, shift, HEIGHT, WIDTH))
    np.testing.assert_allclose(moved, [[WIDTH - 1 - 10 + 0.1 * WIDTH, 10 + 0.2 * HEIGHT]])


def test_placement_keeps_the_centre_and_scales_before_it_rotates() -> None:
    affine = affine_map(False, Placement((0, 0), (1.2, 0.8), 90), HEIGHT, WIDTH)
    centre = np.array([[(WIDTH - 1) / 2, (HEIGHT - 1) / 2]])
    np.testing.assert_allclose(move(centre, affine), centre)
    np.testing.assert_allclose(
        move(centre + np.array([10.0, 0.0]), affine), centre + np.array([0.0, 12.0]), atol=1e-9
    )  # clockwise


def test_nothing_drawn_changes_only_the_painted_region() -> None:
    before = item(np.array([[3.25, 4.0]]))
    after = augment(before, NOTHING)
    for name in ("image", "densepose", "garment", "paint_mask", "worn_mask"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    painted = before.paint_mask > 0
    np.testing.assert_array_equal(after.agnostic[~painted], before.agnostic[~painted])
    assert (after.agnostic[painted] == 128).all()
    np.testing.assert_array_equal(after.matches.person, [[3.25, 4.0]])


def test_outside_the_border_nothing_is_to_be_painted() -> None:
    white = np.full((HEIGHT, WIDTH), 255, np.uint8)
    draws = replace(NOTHING, person=Placement((0.2, 0.0), (1, 1), 0))
    after = augment(item(paint_mask=white, worn_mask=white), draws)
    border = slice(0, int(0.2 * WIDTH))
    for name in ("image", "agnostic", "densepose", "paint_mask", "worn_mask"):
        assert (getattr(after, name)[:, border] == 0).all(), name
    assert (after.paint_mask[:, border.stop :] == 255).all()
    assert (after.garment[:, border] > 0).any()


def test_person_and_garment_have_their_own_placement() -> None:
    point = np.array([[40.0, 50.0]])
    draws = replace(NOTHING, person=Placement((0.1, 0), (1, 1), 0), garment=Placement((0, -0.1), (1, 1), 0))
    before = item(
        point, image=np.repeat(spot(40, 50)[:, :, None], 3, 2), garment=np.repeat(spot(40, 50)[:, :, None], 3, 2)
    )
    after = augment(before, draws)
    np.testing.assert_allclose(after.matches.person, [[49, 50]])
    np.testing.assert_allclose(after.matches.garment, [[40, 38]])
    np.testing.assert_allclose(centroid(after.image[:, :, 0]), [49, 50], atol=0.1)
    np.testing.assert_allclose(centroid(after.garment[:, :, 0]), [40, 38], atol=0.1)


def test_flip_takes_both_sides() -> None:
    before = item(np.array([[10.0, 20.0]]))
    after = augment(before, replace(NOTHING, flip=True))
    np.testing.assert_array_equal(after.image, before.image[:, ::-1])
    np.testing.assert_array_equal(after.garment, before.garment[:, ::-1])
    np.testing.assert_array_equal(after.densepose, before.densepose[:, ::-1])
    np.testing.assert_array_equal(after.matches.person, [[79, 20]])
    np.testing.assert_array_equal(after.matches.garment, [[79, 20]])


def test_colour_changes_photo_agnostic_and_garment_alike() -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
    before = item(image=grey, agnostic=grey, garment=grey, densepose=grey)
    after = augment(before, replace(NOTHING, hsv=(0, 0, 5), contrast=(1.2, 0.02)))
    unpainted = before.paint_mask == 0
    assert (after.image == 131).all()  # (100 + 5)·1.2 + 5.1 = 131.1
    assert (after.garment == 131).all()
    assert (after.agnostic[unpainted] == 131).all()
    assert (after.agnostic[~unpainted] == 128).all(), "recoloured after it was reset"
    assert (after.densepose == 100).all()


def test_hue_goes_around_and_saturation_and_value_stop() -> None:
    picture = np.array([[[255, 0, 0], [200, 100, 100], [10, 10, 10]]], np.uint8)
    np.testing.assert_array_equal(shift_hsv(picture, (0, 0, 0)), picture)
    # hue 0 − 5 is 175 of 180: red with 5/30 of 255 of blue; saturation and value are 255 already
    np.testing.assert_allclose(shift_hsv(picture, (-5, 5, 5))[0, 0].astype(float), [255, 0, 42.5], atol=0.5)
    np.testing.assert_array_equal(shift_hsv(picture, (0, 0, -5))[0, 2], [5, 5, 5])


def test_contrast_is_cut_off_at_black_and_white() -> None:
    np.testing.assert_array_equal(change_contrast(np.array([[[0, 100, 250]]], np.uint8), 1.3, -0.1), [[[0, 104, 255]]])


def test_painted_region_is_blended_by_a_soft_mask() -> None:
    agnostic = np.full((1, 3, 3), 28, np.uint8)
    mask = np.array([[0, 51, 255]], np.uint8)
    np.testing.assert_array_equal(reset_painted(agnostic, mask)[0, :, 0], [28, 48, 128])


def test_matches_outside_either_picture_are_dropped() -> None:
    person = np.array([[0.0, 0.0], [89.9, 119.9], [-0.1, 5.0], [90.0, 5.0], [5.0, 5.0], [5.0, 120.0]])
    garment = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0], [-0.5, 5.0], [6.0, 6.0]])
    kept = inside(Correspondences(person, garment, (HEIGHT, WIDTH)))
    np.testing.assert_array_equal(kept.garment, [[1.0, 1.0], [2.0, 2.0]])
    np.testing.assert_array_equal(kept.person, person[:2])


def test_draws_have_the_ranges_and_probabilities_of_the_method() -> None:
    draws = [AugmentationDraws.draw(torch_generator(0, 0, index, "augmentation")) for index in range(2000)]

    def share(values: list[bool]) -> float:
        return sum(values) / len(values)

    for name in ("person", "garment", "hsv", "contrast"):
        assert share([getattr(draw, name) is not None for draw in draws]) == pytest.approx(0.5, abs=0.04), name
    assert share([draw.flip for draw in draws]) == pytest.approx(0.5, abs=0.04)
    for name, rotation in (("person", 10), ("garment", 2)):
        placements = [placed for draw in draws if (placed := getattr(draw, name)) is not None]
        for values, low, high in (
            ([placed.shift[0] for placed in placements], -0.2, 0.2),
            ([placed.shift[1] for placed in placements], -0.2, 0.2),
            ([placed.scale[0] for placed in placements], 0.8, 1.2),
            ([placed.scale[1] for placed in placements], 0.8, 1.2),
            ([placed.rotation for placed in placements], -rotation, rotation),
        ):
            assert low <= min(values) < low + 0.02 * (high - low)
            assert high - 0.02 * (high - low) < max(values) <= high
    shifts = [draw.hsv for draw in draws if draw.hsv is not None]
    assert {value for shift in shifts for value in shift} == set(range(-5, 6))
    alphas, betas = zip(*[draw.contrast for draw in draws if draw.contrast is not None], strict=True)
    assert 0.7 <= min(alphas) < 0.71
    assert 1.29 < max(alphas) <= 1.3
    assert -0.1 <= min(betas) < -0.098
    assert 0.018 < max(betas) <= 0.02


def test_person_and_garment_draws_are_independent() -> None:
    """In the published code one seed served all transforms, so that they coincided."""
    draws = [AugmentationDraws.draw(torch_generator(1, 0, index, "augmentation")) for index in range(2000)]
    both = [draw for draw in draws if draw.person is not None and draw.garment is not None]
    assert len(both) == pytest.approx(500, abs=80)
    shifts = np.array(
        [(*draw.person.shift, *draw.person.scale, *draw.garment.shift, *draw.garment.scale) for draw in both]
    )
    correlation = np.corrcoef(shifts.T) - np.eye(8)
    assert np.abs(correlation).max() < 0.2


def test_draws_depend_on_their_generator_alone() -> None:
    torch.manual_seed(1)
    first = AugmentationDraws.draw(torch_generator(0, 3, 7, "augmentation"))
    torch.manual_seed(2)
    assert AugmentationDraws.draw(torch_generator(0, 3, 7, "augmentation")) == first
    assert AugmentationDraws.draw(torch_generator(0, 4, 7, "augmentation")) != first
