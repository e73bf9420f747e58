import numpy as np
import pytest
import torch
from examples import random_matches
from oracles import dense_reference, dense_soft_reference

from siftvton.correspondence import Correspondences
from siftvton.supervision import ReferenceAttention, SparseReference
from siftvton.supervision.reference import cells, grid_of

FRAME = (64, 48)


def dense(sparse: SparseReference, image: int, shape: tuple[int, int]) -> np.ndarray:
    p = np.zeros(shape)
    chosen = sparse.image == image
    p[sparse.query[chosen], sparse.key[chosen]] = sparse.weight[chosen]
    return p


def test_a_pixel_belongs_to_the_cell_that_covers_it():
    points = np.array([[0.0, 0.0], [7.99, 8.0], [8.0, 7.99], [47.9, 63.9]])
    assert cells(points, FRAME, (8, 6)).tolist() == [0, 6, 1, 47]


def test_x_counts_columns_and_y_rows():
    """The frame is not square, so swapped x and y would show."""
    assert cells(np.array([[40.0, 0.0]]), FRAME, (8, 6)).tolist() == [5]


@pytest.mark.parametrize(("query_grid", "key_grid"), [((8, 6), (8, 6)), ((16, 12), (4, 3)), ((32, 24), (64, 48))])
def test_equals_the_dense_histogram(query_grid: tuple[int, int], key_grid: tuple[int, int]):
    batch = [random_matches(200, FRAME, seed=1), random_matches(0, FRAME), random_matches(40, FRAME, seed=2)]
    sparse = ReferenceAttention.from_correspondences(batch).at(query_grid, key_grid)
    for image, matches in enumerate(batch):
        expected = dense_reference(matches, query_grid, key_grid)
        np.testing.assert_allclose(dense(sparse, image, expected.shape), expected, rtol=1e-7)
        assert sparse.rows[image] == (expected.sum(axis=1) > 0).sum()


def test_a_match_with_a_point_outside_its_picture_is_dropped():
    person = np.array([[1.0, 1.0], [-0.1, 1.0], [1.0, 64.0], [1.0, 1.0], [2.0, 2.0]])
    garment = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [48.0, 1.0], [47.9, 63.9]])
    reference = ReferenceAttention.from_correspondences([Correspondences(person, garment, FRAME)])
    assert reference.person.tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert reference.garment.tolist() == [[1.0, 1.0], [47.9, 63.9]]


def test_inactive_images_lose_their_matches_and_keep_their_place():
    batch = [random_matches(5, FRAME, seed=n) for n in range(3)]
    kept = ReferenceAttention.from_correspondences(batch).where(torch.tensor([False, True, False]))
    assert kept.batch_size == 3
    assert kept.at((8, 6), (8, 6)).rows.tolist()[::2] == [0, 0]
    assert kept.person.tolist() == batch[1].person.tolist()


def test_references_that_are_sent_together_are_those_of_each_pair_of_grids():
    batch = [random_matches(30, FRAME, seed=1), random_matches(0, FRAME), random_matches(7, FRAME, seed=2)]
    reference = ReferenceAttention.from_correspondences(batch)
    pairs = [((8, 6), (8, 6)), ((16, 12), (4, 3)), ((8, 6), (8, 6))]
    for pair, placed in zip(pairs, reference.on(torch.device("cpu"), *pairs), strict=True):
        expected = reference.at(*pair)
        assert placed.rows == expected.rows.tolist()
        for name, value in vars(expected).items():
            torch.testing.assert_close(getattr(placed.sparse, name), value, rtol=0, atol=0)


def test_a_pair_of_grids_is_counted_once(monkeypatch: pytest.MonkeyPatch):
    reference = ReferenceAttention.from_correspondences([random_matches(30, FRAME)])
    pair = ((8, 6), (8, 6))
    (first,) = reference.on(torch.device("cpu"), pair)
    monkeypatch.setattr(ReferenceAttention, "_counted", None)
    assert reference.on(torch.device("cpu"), pair) == [first]


def test_a_batch_with_different_frames_is_refused():
    with pytest.raises(ValueError, match="one frame"):
        ReferenceAttention.from_correspondences([random_matches(1, FRAME), random_matches(1, (48, 64))])


def test_a_grid_follows_from_the_number_of_tokens():
    assert grid_of(768, (512, 384)) == (32, 24)
    assert grid_of(12, (128, 96)) == (4, 3)
    assert grid_of(49, (224, 224)) == (7, 7)
    with pytest.raises(ValueError, match="50 tokens"):
        grid_of(50, (224, 224))


def test_the_reference_never_makes_a_tensor_of_all_pairs_of_cells():
    """p at 64 × 48 would have 9.4 million numbers; 100 matches need only hundreds."""
    batch = [random_matches(100, (512, 384))]
    sparse = ReferenceAttention.from_correspondences(batch).at((64, 48), (64, 48))
    assert all(value.numel() <= 100 for value in vars(sparse).values())


@pytest.mark.parametrize(("query_grid", "key_grid"), [((8, 6), (8, 6)), ((16, 12), (4, 3))])
@pytest.mark.parametrize("sigma", [0.5, 4.0, 40.0])
def test_a_soft_reference_equals_the_dense_gaussian(query_grid: tuple, key_grid: tuple, sigma: float):
    batch = [random_matches(40, FRAME, seed=1), random_matches(0, FRAME), random_matches(9, FRAME, seed=2)]
    sparse = ReferenceAttention.from_correspondences(batch, sigma).at(query_grid, key_grid)
    for image, matches in enumerate(batch):
        expected = dense_soft_reference(matches, query_grid, key_grid, sigma)
        np.testing.assert_allclose(dense(sparse, image, expected.shape), expected, rtol=1e-6, atol=1e-9)
        assert sparse.rows[image] == (expected.sum(axis=1) > 0).sum()


def test_without_width_a_soft_reference_is_that_of_the_paper_in_every_bit():
    batch = [random_matches(200, FRAME, seed=1), random_matches(3, FRAME, seed=2)]
    narrow, paper = (
        ReferenceAttention.from_correspondences(batch, sigma).at((16, 12), (8, 6)) for sigma in (1e-9, 0.0)
    )
    for name, value in vars(paper).items():
        torch.testing.assert_close(getattr(narrow, name), value, rtol=0, atol=0)


def test_the_place_of_a_row_is_the_mean_of_its_matches_between_the_middles_of_cells():
    person = np.array([[1.0, 1.0], [2.0, 3.0], [40.0, 50.0]])
    garment = np.array([[3.5, 3.5], [11.5, 19.5], [47.5, 63.5]])  # middles of cells of 8 × 8 pixels, then the corner
    reference = ReferenceAttention.from_correspondences([Correspondences(person, garment, FRAME)], sigma=4.0)
    (placed,) = reference.on(torch.device("cpu"), ((8, 6), (8, 6)))
    assert placed.places.tolist() == [[[1.0, 0.5], [7.5, 5.5]]]


def test_inactive_images_leave_the_gaussian_as_it_is():
    reference = ReferenceAttention.from_correspondences([random_matches(3, FRAME)] * 2, sigma=2.0)
    assert reference.where(torch.tensor([True, False])).sigma == 2.0
