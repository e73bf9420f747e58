"""The published dataflow on the layers of this package: the form that the benchmarks compare with.

It passes the same parity tests. In sampling, the two passes are separate, the deepest level and the middle block of the
garment encoder run although nothing reads them, and every attention computes its scores, also over the single context
token. In training, the reference attention is dense, and every supervised layer computes its whole softmax.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from unittest.mock import patch

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from diffusers.models.downsampling import Downsample2D
from diffusers.models.unets.unet_2d_blocks import DownBlock2D, UNetMidBlock2DCrossAttn
from torch import Tensor, nn

from siftvton.correspondence import Correspondences
from siftvton.model.encoder import time_width
from siftvton.model.few_cells import FewCellsConv2d
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.single_token import SingleTokenProcessor
from siftvton.model.unet import TryOnUNet
from siftvton.supervision import Recorder
from siftvton.supervision.attention import observe
from siftvton.supervision.layers import Layer
from siftvton.supervision.reference import Grid, cells, grid_of


@contextmanager
def processors(*modules: nn.Module, fused: bool, shortcut: bool) -> Iterator[None]:
    """Give the attention layers of the modules plain processors, which compute scores, inside the block.

    Args:
        fused: keep the processors of the layers that do not attend to the context token.
        shortcut: keep the processors of the layers that attend to the context token.
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


def attend_fused(module: nn.Module) -> None:
    """Give every attention layer inside ``module`` PyTorch's fused attention, also over the context token."""
    for layer in module.modules():
        if isinstance(layer, Attention):
            layer.set_processor(AttnProcessor2_0())


def convolutions() -> AbstractContextManager[object]:
    """Compute every convolution in the same way inside the block, whatever its size."""
    return patch.object(FewCellsConv2d, "_conv_forward", nn.Conv2d._conv_forward)


class UnusedStages(nn.Module):
    """The stages that the published garment encoder runs after its last feature; nothing reads their output."""

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

    def after(self, encoder: GarmentEncoder) -> None:
        """Run these stages whenever the garment encoder runs."""

        def run(_: nn.Module, inputs: tuple[Tensor, ...], features: list[Tensor]) -> None:
            sample, _, timestep, context = inputs
            inner = encoder.encoder
            self(features[-1], inner.time_embedding(inner.time_proj(timestep).to(sample.dtype)), context)

        encoder.register_forward_hook(run)


def garment_features(
    encoder: GarmentEncoder,
    unused: UnusedStages | None,
    sample: Tensor,
    garment_latent: Tensor,
    timestep: Tensor,
    context: Tensor,
) -> list[Tensor]:
    """The features of the garment encoder; also runs the unused stages if they are given."""
    features = encoder(sample, garment_latent, timestep, context)
    if unused is not None:
        inner = encoder.encoder
        unused(features[-1], inner.time_embedding(inner.time_proj(timestep).to(sample.dtype)), context)
    return features


def guided_predictions(
    unet: TryOnUNet,
    sample: Tensor,
    timestep: Tensor,
    context: Tensor,
    unconditional: Tensor,
    features: Sequence[Tensor],
    one_batch: bool = False,
) -> tuple[Tensor, Tensor]:
    """The conditional and the unconditional prediction, from two passes or from one batch as in the pipeline."""
    if not one_batch:
        return unet(sample, timestep, context, features), unet(sample, timestep, unconditional)
    both = torch.cat([context, unconditional])
    conditional, bare = unet(sample.repeat(2, 1, 1, 1), timestep.repeat(2), both, features).chunk(2)
    return conditional, bare


def dense_reference(matches: Correspondences, query_grid: Grid, key_grid: Grid) -> Tensor:
    """The reference attention as a matrix (N_q, N_k), float32."""
    query, key = (
        torch.from_numpy(cells(points, matches.frame, grid))
        for points, grid in ((matches.person, query_grid), (matches.garment, key_grid))
    )
    counts = torch.zeros(math.prod(query_grid), math.prod(key_grid))
    counts.index_put_((query, key), torch.ones(len(query)), accumulate=True)
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)


def dense_supervision(
    model: nn.Module, batch: Sequence[Correspondences], layers: Sequence[str]
) -> AbstractContextManager[Recorder]:
    """Eqs. 1-2 with the whole log-softmax and dense reference matrices; use it like ``supervise``."""
    frame = batch[0].frame

    def loss(layer: Layer, hidden: Tensor, key: Tensor) -> Tensor:
        attention = layer.attention
        grids = grid_of(hidden.shape[1], frame), grid_of(key.shape[2], frame)
        dense = [dense_reference(matches, *grids).to(hidden.device) for matches in batch]
        reference = torch.stack(dense)  #                                                   (B, N_q, N_k)
        query = attention.to_q(hidden).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        log_q = (attention.scale * query @ key.transpose(-1, -2)).log_softmax(dim=-1)  #    (B, H, N_q, N_k)
        rows = (reference.sum(dim=-1) > 0).sum(dim=1).clamp(min=1)  #                       (B,)
        per_head = -(reference[:, None] * log_q).sum(dim=(2, 3))  #        (B, H)
        return per_head.mean(dim=1) / rows

    return observe(model, loss, layers)
