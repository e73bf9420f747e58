import numpy as np
import pytest

from siftvton.correspondence import Correspondences
from siftvton.drawing import CAPTION, GAP, contact_sheet, draw_matches

HEIGHT, WIDTH = 60, 40
GREY = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)


def one(person: tuple[float, float], garment: tuple[float, float], frame: tuple[int, int]) -> Correspondences:
    return Correspondences(np.array([person], np.float64), np.array([garment], np.float64), frame)


def changed(picture: np.ndarray) -> np.ndarray:
    """(height, width) booleans: where something was drawn."""
    plain = draw_matches(GREY, GREY, Correspondences.empty((HEIGHT, WIDTH)))
    return (picture.astype(int) - plain != 0).any(axis=2)


def test_photo_and_garment_are_side_by_side() -> None:
    person, garment = GREY, GREY + np.uint8(40)
    picture = draw_matches(person, garment, Correspondences.empty((HEIGHT, WIDTH)))
    assert picture.shape == (HEIGHT, 2 * WIDTH + GAP, 3)
    np.testing.assert_array_equal(picture[:, :WIDTH], person)
    np.testing.assert_array_equal(picture[:, WIDTH + GAP :], garment)


def test_a_line_runs_from_the_person_s_point_to_the_garment_s() -> None:
    drawn = changed(draw_matches(GREY, GREY, one((10, 50), (30, 8), (HEIGHT, WIDTH))))
    rows, columns = np.nonzero(drawn)
    assert drawn[50, 10]
    assert drawn[8, WIDTH + GAP + 30]
    assert (rows.min(), rows.max()) == (pytest.approx(8, abs=3), pytest.approx(50, abs=3))
    assert (columns.min(), columns.max()) == (pytest.approx(10, abs=3), pytest.approx(WIDTH + GAP + 30, abs=3))


def test_points_of_another_frame_are_mapped_to_the_picture() -> None:
    here = draw_matches(GREY, GREY, one((10, 50), (30, 8), (HEIGHT, WIDTH)))
    there = draw_matches(GREY, GREY, one((10, 50), (30, 8), (HEIGHT, WIDTH)).resized((512, 384)))
    np.testing.assert_array_equal(here, there)


def test_dropped_matches_are_fainter_and_drawn_under_the_kept_ones() -> None:
    match, none = one((10, 50), (30, 8), (HEIGHT, WIDTH)), Correspondences.empty((HEIGHT, WIDTH))
    kept, dropped = draw_matches(GREY, GREY, match), draw_matches(GREY, GREY, none, match)
    assert np.abs(kept[50, 10].astype(int) - 90).max() > 100
    assert 0 < np.abs(dropped[50, 10].astype(int) - 90).max() < 40
    np.testing.assert_array_equal(draw_matches(GREY, GREY, match, match)[50, 10], kept[50, 10])


def test_each_picture_is_at_its_place_on_the_sheet() -> None:
    red, blue = np.full((30, 20, 3), (200, 0, 0), np.uint8), np.full((60, 120, 3), (0, 0, 200), np.uint8)
    sheet = contact_sheet([[red, blue], [blue]], [["", "a caption"], ["é"]], height=60)
    row = CAPTION + 60 + GAP
    assert sheet.shape == (2 * row, 40 + GAP + 120 + GAP, 3)
    assert sheet[CAPTION + 30, 20].tolist() == [200, 0, 0]
    assert sheet[CAPTION + 30, 40 + GAP + 60].tolist() == [0, 0, 200]
    assert sheet[row + CAPTION + 30, 60].tolist() == [0, 0, 200]
    assert (sheet[row + CAPTION :, 120 + GAP :] == 255).all()  # the shorter row ends white
    caption = sheet[:CAPTION]
    assert (caption[:, :40] == 255).all()
    assert (caption[:, 40 + GAP :] < 100).any()


def test_a_long_caption_stays_above_its_own_picture() -> None:
    sheet = contact_sheet([[GREY, GREY]], [["a caption far wider than its picture", ""]], height=60)
    assert (sheet[:CAPTION, : WIDTH + GAP] < 200).any()
    assert (sheet[:CAPTION, WIDTH + GAP :] == 255).all()
