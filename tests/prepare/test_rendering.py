"""DensePose's output -> body parts -> rendering."""

import numpy as np
import pytest
import torch

from siftvton.correspondence.regions import PART_COLOURS, densepose_labels
from siftvton.prepare.rendering import draw_parts, part_labels

PARTS = 25


def scores(labels: np.ndarray, channels: int) -> np.ndarray:
    """(channels, h, w) float32, highest in the channel of each label."""
    return np.moveaxis(np.eye(channels, dtype=np.float32)[labels], 2, 0)


def reference(coarse: np.ndarray, fine: np.ndarray, height: int, width: int) -> np.ndarray:
    """DensePose's formula: resize, then the largest score; the fine parts only where the coarse ones see a body."""
    coarse_size, fine_size = (
        torch.nn.functional.interpolate(torch.from_numpy(each)[None], (height, width), mode="bilinear")[0]
        for each in (coarse, fine)
    )
    return (fine_size.argmax(dim=0) * (coarse_size.argmax(dim=0) > 0)).numpy()


@pytest.mark.parametrize("channels", [2, 15])
def test_parts_agree_with_densepose_s_formula(channels: int) -> None:
    random = np.random.default_rng(0)
    coarse = random.normal(size=(channels, 14, 14)).astype(np.float32)
    fine = random.normal(size=(PARTS, 14, 14)).astype(np.float32)
    labels = part_labels(coarse, fine, (20.4, 10.9, 77.3, 91.0), (120, 100))
    expected = np.zeros((120, 100), np.uint8)
    expected[10:90, 20:76] = reference(coarse, fine, 80, 56)  # the sides of the box are rounded down, too
    assert (labels == expected).mean() > 0.999  # ties are rounded differently
    assert labels.dtype == np.uint8
    assert len(np.unique(labels)) == PARTS


def test_a_box_that_leaves_the_photo_is_cut() -> None:
    parts = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    coarse, fine = scores(np.ones((4, 4), int), 2), scores(parts, PARTS)
    whole = part_labels(coarse, fine, (10, 10, 50, 50), (60, 60))[10:50, 10:50]
    assert set(np.unique(whole)) == set(range(1, 17))
    cut = part_labels(coarse, fine, (-15, -5, 25, 35), (30, 20))
    np.testing.assert_array_equal(cut, whole[5:35, 15:35])
    assert not part_labels(coarse, fine, (-60, 0, -20, 40), (30, 20)).any()
    assert not part_labels(coarse, fine, (0, 40, 40, 80), (30, 20)).any()


def test_a_box_of_no_width_is_one_pixel_wide() -> None:
    coarse, fine = scores(np.ones((4, 4), int), 2), scores(np.full((4, 4), 7), PARTS)
    labels = part_labels(coarse, fine, (3.0, 2.0, 3.2, 6.0), (10, 10))
    assert np.argwhere(labels == 7).tolist() == [[row, 3] for row in range(2, 6)]


def test_each_part_has_its_colour() -> None:
    labels = np.arange(PARTS, dtype=np.uint8).reshape(5, 5)
    picture = draw_parts(labels)
    np.testing.assert_array_equal(picture.reshape(-1, 3), PART_COLOURS)
    np.testing.assert_array_equal(densepose_labels(picture), labels)
    assert picture[0, 0].tolist() == [0, 0, 0]
