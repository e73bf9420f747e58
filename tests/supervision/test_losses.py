import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from examples import random_matches
from oracles import dense_cross_entropy, dense_reference, dense_variation

from siftvton.supervision import ReferenceAttention, losses
from siftvton.supervision.losses import (
    attention_cross_entropy,
    attention_total_variation,
    min_snr_weight,
    noise_error,
    training_loss,
)

FRAME = (64, 48)
GRID, KEYS = (16, 12), (8, 6)
SCALE = 0.5


def projections(images: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(images, 2, 16 * 12, 4, generator=generator, dtype=dtype)
    key = torch.randn(images, 2, 8 * 6, 4, generator=generator, dtype=dtype)
    return query.requires_grad_(), key.requires_grad_()


# The reference weights are float32, and some of them are thirds.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-5)])
def test_equals_the_dense_equations_in_value_and_gradient(dtype: torch.dtype, tolerance: float):
    batch = [random_matches(200, FRAME, seed=1), random_matches(0, FRAME), random_matches(3, FRAME, seed=2)]
    sparse = ReferenceAttention.from_correspondences(batch).at(GRID, KEYS)
    query, key = projections(len(batch), dtype)
    rows = query.gather(2, sparse.row_cells[:, None, :, None].expand(-1, 2, -1, 4))
    ours = attention_cross_entropy(rows, key, SCALE, sparse)
    weights = torch.tensor([1.0, 2.0, -3.0], dtype=dtype)  # different, so that the gradient shows swapped images
    ours_gradients = torch.autograd.grad((ours * weights).sum(), (query, key))

    expected = torch.stack(
        [
            dense_cross_entropy(query[n], key[n], SCALE, torch.from_numpy(dense_reference(matches, GRID, KEYS)))
            for n, matches in enumerate(batch)
        ]
    )
    expected_gradients = torch.autograd.grad((expected * weights).sum(), (query, key))
    torch.testing.assert_close(ours.double(), expected, rtol=tolerance, atol=tolerance)
    assert ours[1] == 0
    for found, value in zip(ours_gradients, expected_gradients, strict=True):
        torch.testing.assert_close(found, value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("scores_at_once", [1, 100, 3000, 10**6])
def test_the_division_into_parts_changes_neither_value_nor_gradient(
    scores_at_once: int, monkeypatch: pytest.MonkeyPatch
):
    batch = [random_matches(count, FRAME, seed=count) for count in (3, 40, 0, 5, 0)]
    (placed,) = ReferenceAttention.from_correspondences(batch).on(torch.device("cpu"), (GRID, KEYS))
    query, key = projections(len(batch))
    rows = query.gather(2, placed.sparse.row_cells[:, None, :, None].expand(-1, 2, -1, 4))
    padding_too = attention_cross_entropy(rows, key, SCALE, placed.sparse)
    expected = torch.autograd.grad(padding_too.sum(), (query, key), retain_graph=True)
    monkeypatch.setitem(losses.SCORES_AT_ONCE, "cpu", scores_at_once)
    loss = attention_cross_entropy(rows, key, SCALE, placed.sparse, placed.rows)
    torch.testing.assert_close(loss, padding_too, rtol=1e-12, atol=1e-12)
    for found, value in zip(torch.autograd.grad(loss.sum(), (query, key)), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scores_at_once", [1, 100, 3000, 10**6])
@pytest.mark.parametrize("rows", [[], [0], [7], [0, 3, 3, 0, 50, 1], [50, 50]])
def test_parts_cover_each_row_of_each_head_and_stay_small(rows: list[int], scores_at_once: int):
    heads, keys = 4, 48
    covered = np.zeros((len(rows) * heads, 50), int)
    for which, part in losses._parts(rows, heads, keys, scores_at_once):
        covered[which, part] += 1
        size = (which.stop - which.start) * (part.stop - part.start)
        assert size * keys <= scores_at_once or size == 1
    for image, count in enumerate(rows):
        assert (covered[image * heads : (image + 1) * heads, :count] == 1).all()
    assert covered.max(initial=0) <= 1


def test_sharp_attention_has_the_exact_gradient():
    """Most weights are smaller than the smallest number that the loss uses."""
    batch = [random_matches(20, FRAME)]
    sparse = ReferenceAttention.from_correspondences(batch).at(GRID, KEYS)
    query, key = projections(1)
    rows = query.gather(2, sparse.row_cells[:, None, :, None].expand(-1, 2, -1, 4))
    loss = attention_cross_entropy(rows, key, 30.0, sparse)
    expected = dense_cross_entropy(query[0], key[0], 30.0, torch.from_numpy(dense_reference(batch[0], GRID, KEYS)))
    torch.testing.assert_close(loss[0], expected, rtol=1e-7, atol=0)
    for found, value in zip(
        torch.autograd.grad(loss, (query, key)), torch.autograd.grad(expected, (query, key)), strict=True
    ):
        torch.testing.assert_close(found, value, rtol=1e-6, atol=1e-6)


def test_certain_attention_has_no_infinite_loss():
    """−log(softmax) of a key that gets almost no attention is large, but not infinite."""
    sparse = ReferenceAttention.from_correspondences([random_matches(1, FRAME)]).at(GRID, KEYS)
    key = torch.zeros(1, 1, 48, 1)
    key[..., int(sparse.key), :] = -300.0
    assert attention_cross_entropy(torch.ones(1, 1, 1, 1), key, 1.0, sparse).item() == pytest.approx(303.85, abs=0.01)


def test_half_precision_scores_are_summed_in_float32():
    sparse = ReferenceAttention.from_correspondences([random_matches(20, FRAME)]).at(GRID, KEYS)
    query, key = (x[:1].detach() for x in projections(1, torch.float32))
    rows = query.gather(2, sparse.row_cells[:, None, :, None].expand(-1, 2, -1, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = attention_cross_entropy(rows, key, SCALE, sparse)
    torch.testing.assert_close(loss, attention_cross_entropy(rows, key, SCALE, sparse), rtol=0, atol=0)


def test_variation_equals_plain_loops_in_value_and_gradient():
    query, key = projections(3)
    mask = torch.zeros(3, 16, 12, dtype=torch.bool)
    mask[0, 3:9, 2:7] = True
    mask[0, 5, 4] = False
    mask[2, 4, 4] = True  # one cell has no neighbour
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    ours = attention_total_variation(query, key, SCALE, mask.flatten(1), GRID, KEYS)
    expected = torch.stack([dense_variation(query[n], key[n], SCALE, mask[n], KEYS[1]) for n in range(3)])
    torch.testing.assert_close(ours, expected)
    assert ours[0] > 0
    assert ours[1:].tolist() == [0, 0]
    for found, value in zip(
        torch.autograd.grad((ours * weights).sum(), (query, key)),
        torch.autograd.grad((expected * weights).sum(), (query, key)),
        strict=True,
    ):
        torch.testing.assert_close(found, value)


def test_the_min_snr_weight_of_each_image_is_the_paper_formula():
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    timesteps = torch.tensor([0, 200, 600, 999])
    alpha = schedule.alphas_cumprod[timesteps].double()
    snr = alpha / (1 - alpha)
    expected = torch.minimum(snr, torch.tensor(5.0)) / snr
    weight = min_snr_weight(schedule.alphas_cumprod, timesteps, gamma=5.0)
    torch.testing.assert_close(weight.double(), expected, rtol=1e-5, atol=0)
    assert weight[0] == pytest.approx(0.00425, rel=0.01)
    assert weight[2:].tolist() == [1, 1]


def test_without_gamma_every_timestep_has_the_same_weight():
    alphas = torch.tensor([0.9, 0.5, 0.1])
    for prediction_type in ("epsilon", "v_prediction"):
        assert min_snr_weight(alphas, torch.tensor([0, 2]), None, prediction_type).tolist() == [1, 1]


def test_the_min_snr_weight_for_v_has_its_own_formula():
    """Calculated by hand for ᾱ = 0.9, 0.5 and 0.2, which have an SNR of 9, 1 and 1/4, and γ = 5."""
    alphas, timesteps = torch.tensor([0.9, 0.5, 0.2]), torch.arange(3)
    assert min_snr_weight(alphas, timesteps, 5.0, "v_prediction").tolist() == pytest.approx([0.5, 0.5, 0.2])
    assert min_snr_weight(alphas, timesteps, 5.0, "epsilon").tolist() == pytest.approx([5 / 9, 1, 1])


def test_eq_3_weights_each_image_by_its_own_timestep():
    """The result differs from the mean of the losses times the mean of the weights."""
    weight, error = torch.tensor([0.0, 1.0]), torch.tensor([4.0, 2.0])
    loss = training_loss(weight, error, torch.tensor([0.5, 0.25]))
    assert loss.tolist() == [0.5, 2.25]
    assert loss.mean() != weight.mean() * error.mean() + 0.375


def test_noise_error_keeps_images_apart():
    prediction = torch.zeros(2, 4, 3, 2)
    noise = torch.stack([torch.ones(4, 3, 2), torch.full((4, 3, 2), 3.0)])
    assert noise_error(prediction, noise).tolist() == [1.0, 9.0]
