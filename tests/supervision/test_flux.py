"""Supervision of FLUX Kontext: text, noisy and reference tokens in one attention with rotary position embeddings."""

import copy
from functools import partial
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from layout_checks import FRAME, REFERENCE, LayoutChecks, Plain, compiler, shaken, split
from torch import Tensor, nn

from siftvton.supervision import Joint, supervise

__all__ = ["compiler"]

TEXT, ROWS, COLUMNS = 5, 8, 6
AXES = (4, 6, 6)
SINGLE = "single_transformer_blocks.0.attn"


def picture_ids(picture: int) -> Tensor:
    """(picture, row, column) of each token."""
    rows, columns = torch.meshgrid(torch.arange(ROWS), torch.arange(COLUMNS), indexing="ij")
    return torch.stack([torch.full_like(rows, picture), rows, columns], dim=-1).reshape(-1, 3)


IDS = torch.cat([torch.zeros(TEXT, 3, dtype=torch.long), picture_ids(0), picture_ids(1)])  # of all tokens


def turned(states: Tensor) -> Tensor:
    """The rotary position embedding as a product of complex numbers."""
    angles = []
    for axis, dim in enumerate(AXES):
        frequency = 10000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        angles.append(IDS[:, axis, None] * frequency)
    angle = torch.cat(angles, dim=1)  #                                     (N, d/2)
    pairs = torch.view_as_complex(states.double().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2).to(states.dtype)


def normalised(states: Tensor, norm: nn.RMSNorm) -> Tensor:
    return states / (states.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt() * norm.weight


class TestFlux(LayoutChecks):
    expected_layers = 2  # one of each kind

    def model(self) -> FluxTransformer2DModel:
        torch.manual_seed(0)
        return shaken(
            FluxTransformer2DModel(
                in_channels=4,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=8,
                pooled_projection_dim=8,
                axes_dims_rope=AXES,
            )
        )

    def call(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor:
        torch.manual_seed(1)
        noisy, garment = torch.randn(2, 2, ROWS * COLUMNS, 4).to(dtype)
        return model(
            hidden_states=torch.cat([noisy, garment], dim=1),
            encoder_hidden_states=torch.randn(2, TEXT, 8).to(dtype),
            pooled_projections=torch.randn(2, 8).to(dtype),
            timestep=torch.tensor([0.1, 0.2]).to(dtype),
            img_ids=IDS[TEXT:],
            txt_ids=IDS[:TEXT],
        ).sample

    def plain(self, processor: Any, attention: Any, hidden_states: Tensor, text: Tensor | None) -> Plain:
        query = normalised(split(attention.to_q(hidden_states), 2), attention.norm_q)
        key = normalised(split(attention.to_k(hidden_states), 2), attention.norm_k)
        if text is not None:
            text_query, text_key = split(attention.add_q_proj(text), 2), split(attention.add_k_proj(text), 2)
            query = torch.cat([normalised(text_query, attention.norm_added_q), query], dim=2)
            key = torch.cat([normalised(text_key, attention.norm_added_k), key], dim=2)
        person = range(TEXT, TEXT + ROWS * COLUMNS)
        garment = range(TEXT + ROWS * COLUMNS, TEXT + 2 * ROWS * COLUMNS)
        return Plain(turned(query), turned(key), person, garment, 16**-0.5)


def test_a_single_stream_layer_requires_the_whole_transformer():
    model = TestFlux().model()
    with pytest.raises(ValueError, match="whole transformer"), supervise(model.single_transformer_blocks, REFERENCE):
        pass


@pytest.mark.parametrize("softmax", ["garment", "all"])
def test_a_processor_that_does_not_use_the_projections_changes_no_loss(softmax: str):
    family, losses = TestFlux(), []
    model = family.model()
    for _ in range(2):
        losses.append(family.loss_and_gradients(model, softmax=softmax)[0])
        for name in family.layouts(model):
            layer = model.get_submodule(name)
            layer.set_processor(partial(through_a_copy, copy.deepcopy(layer)))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=0)


def through_a_copy(layer: nn.Module, attn: nn.Module, *given: Any) -> Any:
    """A processor that calls a copy of the layer, so that the layer's own projections are not called."""
    return layer(*given)


def test_fused_projections_are_refused():
    model = TestFlux().model()
    with torch.no_grad():
        model.fuse_qkv_projections()
    with supervise(model, REFERENCE), pytest.raises(ValueError, match="unfuse_qkv_projections"):
        TestFlux().call(model)
    model.unfuse_qkv_projections()
    with supervise(model, REFERENCE) as recorder:
        TestFlux().call(model)
        assert recorder.loss().isfinite().all()


def test_no_hook_is_left_on_the_text_embedder():
    model = TestFlux().model()
    with supervise(model, REFERENCE, [SINGLE]):
        assert "forward" in vars(model.context_embedder)
    assert "forward" not in vars(model.context_embedder)


def test_the_reference_picture_can_be_smaller():
    """Its number of tokens is given; a quarter of the cells, here."""
    model, (rows, columns) = TestFlux().model(), (ROWS // 2, COLUMNS // 2)
    count = rows * columns
    kept = torch.cat([IDS[TEXT : TEXT + ROWS * COLUMNS], IDS[-ROWS * COLUMNS :][:count]])
    keys = []
    attention = model.get_submodule("transformer_blocks.0.attn")
    attention.to_k.register_forward_hook(lambda _layer, _given, key: keys.append(key))
    with supervise(model, REFERENCE, {"transformer_blocks.0.attn": Joint(reference=count)}) as recorder:
        model(
            hidden_states=torch.randn(2, len(kept), 4),
            encoder_hidden_states=torch.randn(2, TEXT, 8),
            pooled_projections=torch.randn(2, 8),
            timestep=torch.tensor([0.1, 0.2]),
            img_ids=kept,
            txt_ids=IDS[:TEXT],
        )
        (gradient,) = torch.autograd.grad(recorder.loss().sum(), keys)
    moved = gradient.abs().sum(dim=(0, 2)) > 0  # the keys that the loss depends on
    assert moved[-count:].all()
    assert not moved[:-count].any()
    with pytest.raises(ValueError, match="cannot contain 96 tokens"):
        Joint(reference=96).parts(101, 101, TEXT)
    assert FRAME[0] * columns == FRAME[1] * rows
