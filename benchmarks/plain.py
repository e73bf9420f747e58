"""The published dataflow on this package's layers: what `guided_step.py` compares with, and a parity test of its own.

Two separate passes; the garment encoder's deepest level and middle block run although nothing reads them; every
attention builds its scores, those over the single context token as well.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.models.downsampling import Downsample2D
from diffusers.models.unets.unet_2d_blocks import DownBlock2D, UNetMidBlock2DCrossAttn
from torch import Tensor, nn

from siftvton.model.encoder import time_width
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.single_token import SingleTokenProcessor
from siftvton.model.unet import TryOnUNet


@contextmanager
def processors(*modules: nn.Module, fused: bool, shortcut: bool) -> Iterator[None]:
    """Give the modules' attention layers other processors until the block ends.

    Args:
        fused: leave those that are not the context's as they are, else scores are materialised.
        shortcut: leave the context's as they are.
    """
    layers = [layer for module in modules for layer in module.modules() if isinstance(layer, Attention)]
    before = [layer.processor for layer in layers]
    for layer in layers:
        context = isinstance(layer.processor, SingleTokenProcessor)
        if (context and not shortcut) or (not context and not fused):
            layer.set_processor(AttnProcessor())
    try:
        yield
    finally:
        for layer, processor in zip(layers, before, strict=True):
            layer.set_processor(processor)


class UnusedStages(nn.Module):
    """What the published garment encoder runs behind its last feature; random weights, since nothing reads it."""

    def __init__(self, encoder: GarmentEncoder) -> None:
        super().__init__()
        settings = encoder.config
        *_, width, deepest = settings.channels
        sizes = {"temb_channels": time_width(settings.channels), "resnet_groups": settings.norm_groups}
        self.downsampler = Downsample2D(width, use_conv=True, out_channels=width)
        self.down_block = DownBlock2D(
            in_channels=width,
            out_channels=deepest,
            num_layers=settings.blocks_per_level,
            add_downsample=False,
            **sizes,
        )
        self.mid_block = UNetMidBlock2DCrossAttn(
            in_channels=deepest,
            num_attention_heads=settings.heads,
            cross_attention_dim=settings.context_width,
            **sizes,
        )

    def forward(self, feature: Tensor, time: Tensor, context: Tensor) -> Tensor:
        hidden, _ = self.down_block(self.downsampler(feature), time)
        return self.mid_block(hidden, time, encoder_hidden_states=context)


def garment_features(
    encoder: GarmentEncoder,
    unused: UnusedStages | None,
    sample: Tensor,
    garment_latent: Tensor,
    timestep: Tensor,
    context: Tensor,
) -> list[Tensor]:
    """The garment encoder's features, the unused stages run as well where they are given."""
    features = encoder(sample, garment_latent, timestep, context)
    if unused is not None:
        inner = encoder.encoder
        unused(features[-1], inner.time_embedding(inner.time_proj(timestep).to(sample.dtype)), context)
    return features


def two_passes(
    unet: TryOnUNet,
    sample: Tensor,
    timestep: Tensor,
    context: Tensor,
    unconditional: Tensor,
    features: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """The conditional and the unconditional prediction, one after the other."""
    return unet(sample, timestep, context, features), unet(sample, timestep, unconditional)


def one_batch(
    unet: TryOnUNet,
    sample: Tensor,
    timestep: Tensor,
    context: Tensor,
    unconditional: Tensor,
    features: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """The same by one call, as the pipeline does it."""
    both = torch.cat([context, unconditional])
    conditional, bare = unet(sample.repeat(2, 1, 1, 1), timestep.repeat(2), both, features).chunk(2)
    return conditional, bare
