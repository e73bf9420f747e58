"""Garment pictures: masks by the background, transparency, and what is refused."""

import cv2
import numpy as np
import pytest

from siftvton.errors import InputError
from siftvton.prepare.finder import Finder
from siftvton.prepare.framing import box_of
from siftvton.prepare.garment import garment_area, on_white, prepare_garment


def shirt(height: int = 256, width: int = 192) -> np.ndarray:
    """(height, width) booleans: a torso with two sleeves, in the middle."""
    area = np.zeros((height, width), np.uint8)
    outline = np.array(
        [[35, 20], [65, 20], [92, 45], [80, 55], [70, 45], [70, 90], [30, 90], [30, 45], [20, 55], [8, 45]]
    )
    cv2.fillPoly(area, [np.rint(outline * [width / 100, height / 100]).astype(int)], 1)
    return area > 0


def picture(area: np.ndarray, background: int = 246, colour: tuple[int, int, int] = (180, 40, 60)) -> np.ndarray:
    made = np.full((*area.shape, 3), background, np.uint8)
    made[area] = colour
    return made


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def as_jpeg(made: np.ndarray, quality: int = 90) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", made, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def test_the_garment_is_what_the_background_does_not_reach():
    area = shirt(1024, 768)
    prepared = prepare_garment(as_jpeg(picture(area)))
    assert prepared.picture.shape == (1024, 768, 3)
    assert overlap(prepared.mask > 0, area) > 0.98
    assert set(np.unique(prepared.mask)) == {0, 255}
    assert prepared.remarks == ()


def test_a_print_in_the_colour_of_the_background_belongs_to_the_garment():
    area = shirt()
    made = picture(area)
    made[110:150, 80:110] = 246
    np.testing.assert_array_equal(garment_area(made), area)


def test_a_white_garment_before_a_nearly_white_background_is_found():
    area = shirt()
    made = picture(area, 246, (251, 251, 251))
    assert overlap(garment_area(made), area) > 0.99


def test_dust_and_noise_of_the_background_are_no_garment():
    area = shirt()
    made = picture(area, 240).astype(int) + np.random.default_rng(0).normal(0, 1.5, (*area.shape, 3))
    made = np.rint(made).clip(0, 255).astype(np.uint8)
    made[10:14, 10:14] = 0
    assert overlap(garment_area(made), area) > 0.99


def test_a_soft_shadow_around_a_garment_is_background():
    area = shirt(512, 384)
    shadow = cv2.GaussianBlur(area.astype(np.float32), None, 4) * 12
    made = np.rint(255 - shadow)[:, :, None].repeat(3, axis=2).astype(np.uint8)
    made[area] = (180, 40, 60)
    assert overlap(garment_area(made), area) > 0.95


def test_the_transparency_is_the_mask_and_the_picture_is_put_on_white():
    area = shirt()
    made = np.dstack([picture(area, 0), area * np.uint8(255)])
    prepared = prepare_garment(made)
    np.testing.assert_array_equal(prepared.mask > 0, area)
    assert (prepared.picture[~area] == 255).all()
    assert (prepared.picture[area] == (180, 40, 60)).all()


def test_half_transparent_pixels_are_mixed_with_white():
    np.testing.assert_array_equal(on_white(np.array([[[100, 0, 200, 128]]], np.uint8)), [[[177, 127, 227]]])


def test_an_opaque_picture_with_a_transparency_channel_is_judged_by_its_background():
    area = shirt()
    made = np.dstack([picture(area), np.full(area.shape, 255, np.uint8)])
    np.testing.assert_array_equal(prepare_garment(made).mask > 0, area)


def test_a_given_mask_is_used_whatever_the_background():
    area = shirt()
    made = np.random.default_rng(0).integers(0, 256, (*area.shape, 3), dtype=np.uint8)
    prepared = prepare_garment(made, area * np.uint8(255))
    np.testing.assert_array_equal(prepared.mask > 0, area)
    np.testing.assert_array_equal(prepared.picture, made)


def test_a_given_mask_of_the_wrong_polarity_is_refused():
    area = shirt()
    with pytest.raises(InputError, match=r"cloth-mask: has the wrong polarity .* invert the mask"):
        prepare_garment(picture(area), ~area * np.uint8(255))


@pytest.mark.parametrize("shape", [(200, 600), (600, 200), (333, 333)])
def test_a_picture_of_any_shape_gets_the_networks_proportions_and_keeps_the_whole_garment(shape: tuple[int, int]):
    area = shirt(*shape)
    prepared = prepare_garment(picture(area))
    height, width = prepared.mask.shape
    assert abs(width - 0.75 * height) <= 1
    assert prepared.picture.shape[:2] == (height, width)
    found, own = box_of(prepared.mask > 0), box_of(area)
    assert found is not None
    assert own is not None
    assert (found[2] - found[0], found[3] - found[1]) == (own[2] - own[0], own[3] - own[1])
    assert (prepared.picture[prepared.mask == 0] == 246).all()


def test_a_large_picture_is_shrunk():
    area = shirt(1200, 900)
    for mask in (None, area * np.uint8(255)):
        prepared = prepare_garment(picture(area), mask, largest=(512, 384))
        small = cv2.resize(area.astype(np.uint8), (384, 512), interpolation=cv2.INTER_AREA) > 0
        assert overlap(prepared.mask > 0, small) > 0.97


def test_a_garment_cut_off_at_an_edge_gets_a_remark():
    area = shirt()
    made = picture(area)
    made[100:, 70:90] = (180, 40, 60)
    (remark,) = prepare_garment(made).remarks
    assert remark.startswith("the garment is cut off at the bottom of its picture; if a person wears it, give a")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (np.random.default_rng(0).integers(0, 256, (256, 192, 3), dtype=np.uint8), "has no plain background"),
        (picture(shirt(), 90), r"has a dark or coloured background \(90, 90, 90 in red, green, blue\)"),
        (np.full((256, 192, 3), 250, np.uint8), r"shows no garment \(the mask is white in 0\.0%"),
        (np.zeros((256, 192, 4), np.uint8), r"shows no garment"),
    ],
    ids=["room", "dark", "empty", "transparent"],
)
def test_a_picture_without_a_flat_garment_on_a_light_background_is_refused(made: np.ndarray, message: str):
    with pytest.raises(InputError, match=message) as raised:
        prepare_garment(made)
    assert "give a picture of the garment alone, flat, on a light background" in str(raised.value)
    assert "\n" not in str(raised.value)


class Worn:
    """Models that see a person, and skin on a share of the picture."""

    def __init__(self, skin: float, persons: int = 1) -> None:
        self.skin, self.persons = skin, persons

    def person_boxes(self, picture: np.ndarray) -> list[tuple[float, float, float, float]]:
        return [(0, 0, 9, 9)] * self.persons

    def parsing(self, picture: np.ndarray) -> np.ndarray:
        labels = np.full(picture.shape[:2], 5, np.uint8)
        labels[: round(self.skin * len(labels))] = 13
        return labels


def test_a_garment_worn_by_a_person_is_refused():
    made = picture(shirt())
    with pytest.raises(InputError, match="shows a person; give a picture of the garment alone"):
        prepare_garment(made, finder=Finder(Worn(0.1)))  # type: ignore[arg-type]


def test_a_worn_garment_with_a_mask_of_its_own_is_used():
    area = shirt()
    prepared = prepare_garment(picture(area), area * np.uint8(255), Finder(Worn(0.1)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(prepared.mask > 0, area)


@pytest.mark.parametrize("models", [Worn(0.1, persons=0), Worn(0.01), None])
def test_a_garment_is_not_refused_if_only_one_model_sees_a_person(models: Worn | None):
    made = picture(shirt())
    assert prepare_garment(made, finder=Finder(models)).mask.any()  # type: ignore[arg-type]
