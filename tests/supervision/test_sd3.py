"""Supervision of Stable Diffusion 3, whose picture shows the person and, below, the garment."""

from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from layout_checks import LayoutChecks, Plain, compiler, halves, shaken, split
from torch import Tensor, nn

from siftvton.supervision import Concatenated, find_layouts

__all__ = ["compiler"]


def normalised(states: Tensor, norm: Any) -> Tensor:
    return states / (states.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt() * norm.weight


class TestSD3(LayoutChecks):
    expected_layers = 3  # two joint layers and the first block's second layer, for pictures alone

    def model(self) -> SD3Transformer2DModel:
        torch.manual_seed(0)
        return shaken(
            SD3Transformer2DModel(
                sample_size=16,
                in_channels=4,
                out_channels=4,
                num_layers=2,
                attention_head_dim=8,
                num_attention_heads=2,
                joint_attention_dim=8,
                caption_projection_dim=16,
                pooled_projection_dim=8,
                pos_embed_max_size=16,
                dual_attention_layers=(0,),
                qk_norm="rms_norm",
            )
        )

    def call(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor:
        torch.manual_seed(1)
        noisy, garment = torch.randn(2, 2, 4, 16, 12).to(dtype)
        return model(
            hidden_states=torch.cat([noisy, garment], dim=2),
            encoder_hidden_states=torch.randn(2, 5, 8).to(dtype),
            pooled_projections=torch.randn(2, 8).to(dtype),
            timestep=torch.tensor([10, 20]),
        ).sample

    def plain(self, processor: Any, attention: Any, hidden_states: Tensor, text: Tensor | None) -> Plain:
        query = normalised(split(attention.to_q(hidden_states), 2), attention.norm_q)
        key = normalised(split(attention.to_k(hidden_states), 2), attention.norm_k)
        if text is not None:
            text_key = normalised(split(attention.add_k_proj(text), 2), attention.norm_added_k)
            key = torch.cat([key, text_key], dim=2)
        return Plain(query, key, *halves(hidden_states.shape[1]), 8**-0.5)


def test_all_attention_layers_are_found():
    found = find_layouts(TestSD3().model())
    assert found == dict.fromkeys(
        ["transformer_blocks.0.attn", "transformer_blocks.0.attn2", "transformer_blocks.1.attn"], Concatenated("below")
    )
