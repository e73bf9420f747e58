"""The hooked cross-attention: where a decoder feature looks up the garment. These layers are supervised."""

import torch
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn


class GarmentAttention(nn.Module):
    """A spatial transformer whose keys and values are a garment feature's cells, then a zero convolution."""

    def __init__(self, channels: int, garment_channels: int, heads: int, norm_groups: int) -> None:
        """
        Args:
            channels: of the decoder's feature (queries). garment_channels: of the garment's feature (keys, values).
        """
        super().__init__()
        self.transformer = Transformer2DModel(
            num_attention_heads=heads,
            attention_head_dim=channels // heads,
            in_channels=channels,
            cross_attention_dim=garment_channels,
            norm_num_groups=norm_groups,
        )
        self.zero_conv = nn.Conv2d(channels, channels, kernel_size=1)
        for parameter in self.zero_conv.parameters():
            nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor, garment: Tensor, scale: Tensor | None) -> Tensor:
        """
        Args:
            hidden: (B, C, h, w), the decoder's feature.
            garment: (B', C', h', w'), the garments of the first B' images; the others get nothing added.
            scale: (B',) factors of what is added; None: 1.

        Returns:
            (B, C, h, w).
        """
        tokens = garment.flatten(2).transpose(1, 2)  #                               (B', h'·w', C')
        dressed, bare = hidden[: len(garment)], hidden[len(garment) :]
        added = self.zero_conv(self.transformer(dressed, encoder_hidden_states=tokens, return_dict=False)[0])
        if scale is not None:
            added = added * scale.view(-1, 1, 1, 1).to(added.dtype)
        return torch.cat([dressed + added, bare]) if len(bare) else dressed + added
