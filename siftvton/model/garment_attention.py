"""The hooked cross-attention, by which the decoder reads the garment. These are the layers that are supervised."""

import torch
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn


class GarmentAttention(nn.Module):
    """A spatial transformer followed by a zero convolution; keys and values are the cells of a garment feature."""

    def __init__(self, channels: int, garment_channels: int, heads: int, norm_groups: int) -> None:
        """
        Args:
            channels: channels of the decoder feature (queries).
            garment_channels: channels of the garment feature (keys and values).
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
        """Add to the decoder feature what its cells read from the garment feature.

        Args:
            hidden: (B, C, h, w), the decoder feature.
            garment: (B', C', h', w'), the garment features of the first B' images; nothing is added to the others.
            scale: (B',) a factor on what is added to each image; None: 1.

        Returns:
            (B, C, h, w).
        """
        tokens = garment.flatten(2).transpose(1, 2)  #                               (B', h'·w', C')
        dressed, bare = hidden[: len(garment)], hidden[len(garment) :]
        added = self.zero_conv(self.transformer(dressed, encoder_hidden_states=tokens, return_dict=False)[0])
        if scale is not None:
            added = added * scale.view(-1, 1, 1, 1).to(added.dtype)
        return torch.cat([dressed + added, bare]) if len(bare) else dressed + added
