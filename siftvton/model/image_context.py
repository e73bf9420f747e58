"""The image context: turns CLIP's pooled garment embedding into the one token that the context layers read."""

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn


class _Block(nn.Module):
    """A pre-norm transformer block on a single token; its self-attention reduces to a linear map of the value."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, token: Tensor) -> Tensor:
        token = token + self.out(self.value(self.norm1(token)))
        return token + self.feed_forward(self.norm2(token))


class ImageContext(ModelMixin, ConfigMixin):
    """Transformer blocks, LayerNorm and a projection, and a learned vector that stands for "no garment"."""

    @register_to_config
    def __init__(self, width: int = 1024, depth: int = 5, context_width: int = 768) -> None:
        """
        Args:
            width: width of CLIP's pooled output. depth: number of transformer blocks.
            context_width: width of the token.
        """
        super().__init__()
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, context_width)
        self.unconditional = nn.Parameter(torch.randn(1, 1, context_width))

    def embed(self, pooled: Tensor) -> Tensor:
        """Run the transformer blocks: CLIP's pooled output (B, width) -> (B, width), before the projection."""
        for block in self.blocks:
            pooled = block(pooled)
        return self.norm(pooled)

    def forward(self, pooled: Tensor) -> Tensor:
        """Compute the token: CLIP's pooled output (B, width) -> (B, 1, context width)."""
        return self.projection(self.embed(pooled)).unsqueeze(1)
