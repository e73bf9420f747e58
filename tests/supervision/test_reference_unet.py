"""Supervision of an SDXL U-Net whose self-attention also reads the hidden states of a reference U-Net (IDM-VTON)."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from layout_checks import REFERENCE, LayoutChecks, Plain, compiler, shaken, split
from torch import Tensor, nn

from siftvton.supervision import Extended, find_layouts, supervise

__all__ = ["compiler"]


def sdxl() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(16, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=2,
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=32,
    )


class Reads(AttnProcessor2_0):
    """Self-attention over the layer's own tokens and the reference U-Net's of the same layer."""

    def __init__(self, states: dict[str, Tensor], name: str) -> None:
        super().__init__()
        self.states, self.name = states, name

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        both = torch.cat([hidden_states, self.states[self.name]], dim=1)
        return super().__call__(attn, hidden_states, both, attention_mask, temb)


class TwoUNets(nn.Module):
    """The person's U-Net, which reads the garment's."""

    def __init__(self) -> None:
        super().__init__()
        self.unet, self.reference = sdxl(), sdxl()
        states: dict[str, Tensor] = {}
        for name, layer in self.unet.named_modules():
            if name.endswith("attn1"):
                layer.set_processor(Reads(states, name))
                self.reference.get_submodule(name).register_forward_pre_hook(
                    lambda _, given, name=name: states.__setitem__(name, given[0])
                )

    def forward(self, noisy: Tensor, garment: Tensor, **given: Any) -> Tensor:
        self.reference(
            garment, torch.zeros_like(given["timestep"]), **{k: v for k, v in given.items() if k != "timestep"}
        )
        return self.unet(noisy, **given).sample


class TestReferenceUNet(LayoutChecks):
    layers = tuple(f"unet.up_blocks.0.attentions.0.transformer_blocks.{n}.attn1" for n in range(2))
    expected_layers = 2

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return shaken(TwoUNets())

    def checkpointed(self, model: nn.Module) -> None:
        model.unet.enable_gradient_checkpointing()

    def compiled(self, model: nn.Module) -> nn.Module:
        model.unet.up_blocks[0].compile(backend="eager")  # both layers; two whole U-Nets take long
        return model

    def call(self, model: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor:
        torch.manual_seed(1)
        noisy, garment = torch.randn(2, 2, 4, 16, 12).to(dtype)
        added = {"text_embeds": torch.randn(2, 8).to(dtype), "time_ids": torch.rand(2, 6).to(dtype)}
        return model(
            noisy,
            garment,
            timestep=torch.tensor([10, 20]),
            encoder_hidden_states=torch.randn(2, 5, 8).to(dtype),
            added_cond_kwargs=added,
        )

    def plain(self, processor: Any, attention: Any, hidden_states: Tensor, text: Tensor | None) -> Plain:
        tokens = hidden_states.shape[1]
        both = torch.cat([hidden_states, processor.states[processor.name]], dim=1)
        query, key = split(attention.to_q(hidden_states), 2), split(attention.to_k(both), 2)
        return Plain(query, key, range(tokens), range(tokens, 2 * tokens), query.shape[-1] ** -0.5)


def test_self_attention_of_a_model_with_text_layers_is_extended():
    model = TestReferenceUNet().model()
    assert set(find_layouts(model, TestReferenceUNet.layers).values()) == {Extended()}


def test_a_layer_may_be_called_with_the_keys_of_both_pictures():
    torch.manual_seed(0)
    model = nn.ModuleDict({"attn1": Attention(8, heads=2, dim_head=4), "attn2": Attention(8, cross_attention_dim=8)})
    attention, own, garment = model["attn1"], *torch.randn(2, 2, 16 * 12, 8)
    with supervise(model, REFERENCE, ["attn1"]) as recorder:
        attention(own, encoder_hidden_states=torch.cat([own, garment], dim=1))
        loss = recorder.loss()
    query, key = split(attention.to_q(own), 2), split(attention.to_k(garment), 2)
    expected = Plain(query.double(), key.double(), range(192), range(192), 0.5).losses("garment")
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


def test_self_attention_that_reads_no_garment_is_refused():
    model = TestReferenceUNet().model()
    model.get_submodule(TestReferenceUNet.layers[0]).set_processor(AttnProcessor2_0())
    with (
        supervise(model, REFERENCE, TestReferenceUNet.layers),
        pytest.raises(ValueError, match="continue with the garm"),
    ):
        TestReferenceUNet().call(model)
