"""Windows of photos of any shape, and the way back into the photo."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from siftvton.errors import InputError
from siftvton.prepare.framing import Framing, border_colour, box_of

SHAPES = [(1024, 768), (1600, 1200), (600, 1000), (900, 300), (300, 2000), (100, 75), (101, 77)]
PERSON = (0.4, 0.2, 0.6, 0.9)  # left, top, right and bottom as shares of the photo


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that survives resizing: levels that change slowly from place to place."""
    rows, columns = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    return np.stack([rows * 200, columns * 200, 255 - rows * 100 - columns * 100], axis=2).astype(np.uint8)


def person_box(height: int, width: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = PERSON
    return left * width, top * height, right * width, bottom * height


def test_a_photo_of_three_to_four_is_shown_as_it_is():
    framing = Framing.around((1024, 768), (300, 100, 500, 900))
    assert framing == Framing.whole((1024, 768)) == Framing((1024, 768), (0, 0, 768, 1024), (1024, 768))
    photo = smooth(1024, 768)
    np.testing.assert_array_equal(framing.apply(photo, 0), photo)
    np.testing.assert_array_equal(framing.points(np.array([[10.0, 20.0]])), [[10, 20]])


def test_a_large_photo_is_shrunk_and_a_small_one_is_not_enlarged():
    assert Framing.whole((4000, 3000)).size == (1024, 768)
    assert Framing.whole((100, 75)).size == (100, 75)
    assert Framing.whole((4000, 3000), (512, 384)).size == (512, 384)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_whole_photo_is_in_the_smallest_window_with_the_networks_proportions(shape: tuple[int, int]):
    left, top, right, bottom = Framing.whole(shape).window
    assert left <= 0
    assert top <= 0
    assert right >= shape[1]
    assert bottom >= shape[0]
    assert (right - left == shape[1]) or (bottom - top == shape[0])
    assert abs((right - left) - (bottom - top) * 0.75) <= 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_window_around_a_person_that_fits_is_inside_the_photo(shape: tuple[int, int]):
    height, width = shape
    box = person_box(*shape)
    if box[3] - box[1] > width / 0.75 or box[2] - box[0] > height * 0.75:
        return
    framing = Framing.around(shape, box)
    assert framing.inside == framing.window
    left, top, right, bottom = framing.window
    assert left <= box[0]
    assert top <= box[1]
    assert right >= box[2]
    assert bottom >= box[3]


def test_a_person_too_tall_for_the_largest_window_is_padded_at_the_sides_only_as_far_as_needed():
    framing = Framing.around((900, 300), (100, 50, 200, 850))  # 800 high: 600 wide
    assert framing.window == (-150, 50, 450, 850)


def test_a_window_around_a_person_at_the_edge_stays_in_the_photo():
    assert Framing.around((600, 1000), (900, 0, 1000, 600)).window == (550, 0, 1000, 600)
    assert Framing.around((600, 1000), (-50, -9, 40, 700)).window == (0, 0, 450, 600)


def test_padding_has_the_fill_and_labels_are_not_mixed():
    framing = Framing.whole((400, 1000), (512, 384))
    framed = framing.apply(np.full((400, 1000), 7, np.uint8), 0, labels=True)
    assert framed.shape == (512, 384)
    assert set(np.unique(framed)) == {0, 7}
    left, top, right, bottom = framing.filled
    assert (framed[top:bottom, left:right] == 7).all()
    assert (framed == 7).sum() == (bottom - top) * (right - left)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("whole", [True, False])
def test_points_move_with_the_pixels(shape: tuple[int, int], whole: bool):
    framing = Framing.whole(shape) if whole else Framing.around(shape, person_box(*shape))
    place = np.array([0.5 * shape[1] + 3, 0.5 * shape[0] - 2])
    distance = np.hypot(*np.moveaxis(np.mgrid[: shape[1], : shape[0]].T - place, 2, 0))
    radius = 0.1 * min(shape)
    framed = framing.apply((255 * (distance < radius)).astype(np.uint8), 0)
    rows, columns = np.nonzero(framed > 127)
    np.testing.assert_allclose(framing.points(place[None])[0], [columns.mean(), rows.mean()], atol=0.6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("size", [(512, 384), (1024, 768), (128, 96)])
def test_the_unchanged_result_put_back_is_the_photo(shape: tuple[int, int], whole: bool, size: tuple[int, int]):
    framing = Framing.whole(shape) if whole else Framing.around(shape, person_box(*shape))
    photo = smooth(*shape)
    framed = framing.apply(photo, border_colour(photo))
    result = cv2.resize(framed, size[::-1], interpolation=cv2.INTER_AREA)
    back = framing.undo(result, photo, np.full(size, 255, np.uint8))
    left, top, right, bottom = framing.inside
    assert np.abs(back[top:bottom, left:right].astype(int) - photo[top:bottom, left:right]).mean() < 2.5
    # An error of one pixel of the result would show at the edges, where padding could be mixed in.
    border = np.abs(back[top:bottom, left:right].astype(int) - photo[top:bottom, left:right])
    assert max(border[0].mean(), border[-1].mean(), border[:, 0].mean(), border[:, -1].mean()) < 6
    unseen = np.ones(shape, bool)
    unseen[top:bottom, left:right] = False
    np.testing.assert_array_equal(back[unseen], photo[unseen])


def test_only_pixels_that_the_mask_paints_change_and_soft_edges_blend():
    photo = smooth(1500, 1000)
    framing = Framing.around(photo.shape[:2], (300, 200, 700, 1400))
    paint = np.zeros((128, 96), np.uint8)
    paint[40:80, 30:60] = 255
    paint[40:80, 60] = 128
    back = framing.undo(np.full((128, 96, 3), 9, np.uint8), photo, paint)
    assert (back[0:300] == photo[0:300]).all()
    changed = box_of((back != photo).any(axis=2))
    assert changed is not None
    left, top, right, _ = framing.window
    scale = (right - left) / 96
    expected = np.array([30, 40, 61, 80]) * scale + np.array([left, top, left, top])
    np.testing.assert_allclose(changed, expected, atol=1.01 * scale)
    x, y = left + round(60.5 * scale), top + round(60 * scale)
    np.testing.assert_allclose(back[y, x], 0.5 * photo[y, x] + 0.5 * 9, atol=3)


def test_a_mask_of_padding_alone_changes_nothing():
    photo = smooth(100, 400)
    framing = Framing.whole(photo.shape[:2])
    paint = np.zeros(framing.size, np.uint8)
    paint[:20] = 255
    np.testing.assert_array_equal(framing.undo(np.zeros((*framing.size, 3), np.uint8), photo, paint), photo)


def test_a_box_moves_with_the_window_and_is_cut_off_at_its_edge():
    framing = Framing.around((600, 1000), (500, 100, 700, 500))  # the window is (375, 0, 825, 600)
    assert framing.framed_box((475, 50, 900, 300)) == (100, 50, 450, 300)


def test_a_framing_is_saved_and_read_again():
    framing = Framing.around((600, 1000), (500, 100, 700, 500))
    assert Framing.from_json(json.loads(json.dumps(framing.as_json())), Path("a.json")) == framing


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"photo": [9, 9]},
        {"photo": [9, 9], "window": [0, 0, 9], "size": [9, 9]},
        {"photo": [9, 9], "window": [0, 0, 9.5, 9], "size": [9, 9]},
        {"photo": [9, 9], "window": [9, 9, 12, 12], "size": [3, 3]},
        {"photo": [9, 9], "window": [0, 0, 9, 9], "size": [0, 9]},
        {"photo": [9, 9], "window": [0, 0, 9, 9], "size": [10**9, 10**9]},
    ],
)
def test_another_value_is_no_framing(value: object):
    with pytest.raises(InputError, match=r"a\.json: .*run scripts/prepare\.py again"):
        Framing.from_json(value, Path("a.json"))
