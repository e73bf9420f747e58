"""Supervision of a Stable Diffusion inpainting U-Net whose self-attention joins two pictures (CatVTON)."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from layout_checks import FRAME, REFERENCE, LayoutChecks, Plain, compiler, halves, shaken, split
from torch import Tensor, nn

from siftvton.supervision import Concatenated, find_layouts, supervise

__all__ = ["compiler"]


def catvton() -> UNet2DConditionModel:
    unet = UNet2DConditionModel(
        in_channels=9,
        block_out_channels=(16, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    for block in unet.modules():
        if isinstance(block, BasicTransformerBlock):
            block.attn2 = None
    return shaken(unet)


def call(model: nn.Module, dtype: torch.dtype, dim: int = 2) -> Tensor:
    torch.manual_seed(1)
    both = torch.cat(torch.randn(2, 2, 9, 16, 12).to(dtype).unbind(0), dim=dim)
    return model(both, torch.tensor([10, 20]), encoder_hidden_states=None).sample


class TestCatVTON(LayoutChecks):
    expected_layers = 4  # one in the encoder, one in the middle, two in the decoder

    def model(self) -> nn.Module:
        return catvton()

    def compiled(self, model: nn.Module) -> nn.Module:
        model.up_blocks[1].compile(backend="eager")  # two of the layers; the whole U-Net takes long
        return model

    def call(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor:
        return call(model, dtype)

    def plain(self, processor: Any, attention: Any, hidden_states: Tensor, text: Tensor | None) -> Plain:
        query, key = (split(layer(hidden_states), 2) for layer in (attention.to_q, attention.to_k))
        return Plain(query, key, *halves(hidden_states.shape[1]), query.shape[-1] ** -0.5)


def numbers(garment: str) -> tuple[list[int], list[int]]:
    """The tokens of the person and of the garment, from a drawing of both in one grid."""
    first, second = torch.zeros(16, 12), torch.ones(16, 12)
    drawing = torch.cat([first, second], dim=0 if garment in ("below", "above") else 1).flatten()
    if garment in ("above", "left"):
        drawing = 1 - drawing
    return (drawing == 0).nonzero().flatten().tolist(), (drawing == 1).nonzero().flatten().tolist()


@pytest.mark.parametrize("softmax", ["garment", "all"])
@pytest.mark.parametrize("garment", ["below", "above", "right", "left"])
def test_the_garment_can_be_at_any_side_of_the_person(garment: str, softmax: str):
    model = catvton().double()
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    attention, seen = model.get_submodule(layer), []
    attention.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    layouts = {layer: Concatenated(garment, FRAME, softmax)}
    with supervise(model, REFERENCE, layouts) as recorder:
        call(model, torch.float64, dim=2 if garment in ("below", "above") else 3)
        loss = recorder.loss()
    query, key = (split(projection(seen[0]), 2) for projection in (attention.to_q, attention.to_k))
    expected = Plain(query, key, *numbers(garment), query.shape[-1] ** -0.5).losses(softmax)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_pictures_side_by_side_require_their_shape():
    with pytest.raises(ValueError, match="requires frame"):
        Concatenated("right")


def test_one_picture_alone_is_refused():
    model = catvton()
    with supervise(model, REFERENCE), pytest.raises(ValueError, match="do not form a grid"):
        model(torch.randn(2, 9, 16, 12), 10, encoder_hidden_states=None)


def test_all_self_attention_layers_are_found():
    assert set(find_layouts(catvton()).values()) == {Concatenated("below")}
