"""The losses on the place that attention expects: against plain loops, and on a stock diffusers model."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from diffusers import UNet2DConditionModel
from examples import random_matches
from oracles import dense_expected_places, dense_place_error, dense_warping_error
from torch import Tensor, nn

from siftvton.supervision import Recorder, ReferenceAttention, supervise_flow, supervise_places
from siftvton.supervision.flow import place_error, warping_error

FRAME = (64, 48)
GRID, KEYS = (8, 6), (4, 3)
SCALE = 0.5
WEIGHTS = torch.tensor([1.0, 2.0, -3.0], dtype=torch.float64)  # different, so that the gradient shows swapped images


def projections() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    query, key = 2 * torch.randn(3, 2, 8 * 6, 4).double(), 2 * torch.randn(3, 2, 4 * 3, 4).double()
    return query.requires_grad_(), key.requires_grad_()


def expected_places(query: Tensor, key: Tensor) -> list[Tensor]:
    return [dense_expected_places(*each, SCALE, KEYS[1]) for each in zip(query, key, strict=True)]


def require_same(ours: Tensor, expected: Tensor, of: tuple[Tensor, Tensor]) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)
    gradients = (torch.autograd.grad((loss * WEIGHTS).sum(), of) for loss in (ours, expected))
    for found, value in zip(*gradients, strict=True):
        assert value.abs().max() > 1e-4
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-8)


def test_the_place_loss_equals_plain_loops_in_value_and_gradient():
    batch = [random_matches(40, FRAME, seed=1), random_matches(0, FRAME), random_matches(5, FRAME, seed=2)]
    (placed,) = ReferenceAttention.from_correspondences(batch).on(torch.device("cpu"), (GRID, KEYS))
    query, key = projections()
    rows = query.gather(2, placed.sparse.row_cells[:, None, :, None].expand(-1, 2, -1, 4))
    places = expected_places(query, key)
    expected = [dense_place_error(each, matches, GRID, KEYS) for each, matches in zip(places, batch, strict=True)]
    ours = place_error(rows, key, SCALE, placed, KEYS)
    assert ours[1] == 0
    require_same(ours, torch.stack(expected), (query, key))


def test_the_flow_loss_equals_plain_loops_in_value_and_gradient():
    query, key = projections()
    pictures = torch.rand(2, 3, 3, 16, 12).double()
    mask = torch.rand(3, 1, 16, 12).double().round()
    mask[1] = 0
    expected = [
        dense_warping_error(places, pictures[:, image], mask[image, 0], GRID, KEYS)
        for image, places in enumerate(expected_places(query, key))
    ]
    ours = warping_error(query, key, SCALE, tuple(pictures), mask, GRID, KEYS)
    assert ours[1] == 0
    require_same(ours, torch.stack(expected), (query, key))


def test_attention_on_the_right_places_has_no_loss():
    """Each query looks at its own cell, and the photo shows the garment itself."""
    cells = 8 * 6
    own = 100 * torch.eye(cells)[None, None]
    garment = torch.rand(1, 3, 32, 24)
    inner = torch.zeros(1, 1, 32, 24)
    inner[..., 2:-2, 2:-2] = 1  # within half a cell of the edge, the resized flow stays at the outermost cells
    pictures = garment, garment
    assert warping_error(own, own, 1.0, pictures, inner, GRID, GRID).item() == pytest.approx(0, abs=1e-9)
    assert warping_error(own, own.flip(2), 1.0, pictures, inner, GRID, GRID).item() > 0.1


@pytest.fixture
def model() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=8,
    ).train()


def places(model: nn.Module) -> AbstractContextManager[Recorder]:
    batch = [random_matches(20, FRAME, seed=1), random_matches(0, FRAME)]
    return supervise_places(model, ReferenceAttention.from_correspondences(batch))


def flow(model: nn.Module) -> AbstractContextManager[Recorder]:
    torch.manual_seed(2)
    return supervise_flow(model, *torch.rand(2, 2, 3, *FRAME), torch.ones(2, 1, *FRAME))


BOTH = pytest.mark.parametrize("record", [places, flow])


def loss_and_gradients(model: nn.Module, record: Callable, dtype=torch.float32) -> tuple[Tensor, Tensor, list[Tensor]]:
    torch.manual_seed(1)
    given = torch.randn(2, 4, 16, 12).to(dtype), torch.tensor([10, 20])
    garment = torch.randn(2, 8 * 6, 8).to(dtype)
    model.zero_grad()
    with record(model) as recorder:
        output = model(*given, encoder_hidden_states=garment).sample
        loss = recorder.loss()
        (loss.sum() + 0 * output.float().sum()).backward()
    return output.detach(), loss.detach(), [parameter.grad.clone() for parameter in model.parameters()]


@BOTH
def test_the_output_does_not_change_and_queries_and_keys_learn(model: nn.Module, record: Callable):
    torch.manual_seed(1)
    given = torch.randn(2, 4, 16, 12), torch.tensor([10, 20]), torch.randn(2, 8 * 6, 8)
    plain = model(*given).sample
    output, loss, _ = loss_and_gradients(model, record)
    assert torch.equal(plain, output)
    assert loss[0] > 0
    layer = model.get_submodule("up_blocks.1.attentions.0.transformer_blocks.0.attn2")
    assert layer.to_q.weight.grad.abs().max() > 0
    assert layer.to_k.weight.grad.abs().max() > 0


@BOTH
def test_gradient_checkpointing_changes_no_gradient(model: nn.Module, record: Callable):
    _, _, plain = loss_and_gradients(model, record)
    model.enable_gradient_checkpointing()
    for found, expected in zip(loss_and_gradients(model, record)[2], plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


@BOTH
def test_in_bfloat16_the_loss_is_near_that_in_float32(model: nn.Module, record: Callable):
    _, expected, _ = loss_and_gradients(model, record)
    _, loss, gradients = loss_and_gradients(model.to(torch.bfloat16), record, torch.bfloat16)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0)
    assert all(gradient.isfinite().all() for gradient in gradients)
