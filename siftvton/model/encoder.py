"""The encoder of the U-Net and of the garment encoder: one architecture, with separate weights."""

from collections.abc import Sequence

from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_blocks import CrossAttnDownBlock2D, DownBlock2D
from torch import Tensor, nn

from siftvton.model.single_token import attend_to_single_token


class Encoder(nn.Module):
    """The U-Net encoder of Stable Diffusion 1.x: time embedding, first convolution, levels.

    Letters: B images, h × w latent cells, C_l channels of level l.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        blocks_per_level: int,
        heads: int,
        norm_groups: int,
        context_width: int,
        attention_only: bool,
    ) -> None:
        """
        Args:
            channels: channels of each level, finest first; each level has half the size of the one before.
            attention_only: end with the second-to-last level, the last one that attends to the context, and leave
                out its downsampler, whose output nothing would read.
        """
        super().__init__()
        self.time_proj = Timesteps(channels[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(channels[0], time_width(channels))
        self.conv_in = nn.Conv2d(in_channels, channels[0], kernel_size=3, padding=1)
        self.down_blocks = nn.ModuleList()
        deepest = len(channels) - 1
        for level, width in enumerate(channels[:-1] if attention_only else channels):
            sizes = {
                "in_channels": channels[max(level - 1, 0)],
                "out_channels": width,
                "temb_channels": time_width(channels),
                "num_layers": blocks_per_level,
                "resnet_groups": norm_groups,
                "resnet_eps": 1e-5,
            }
            if level == deepest:
                self.down_blocks.append(DownBlock2D(**sizes, add_downsample=False))
            else:
                last = attention_only and level == deepest - 1
                self.down_blocks.append(
                    CrossAttnDownBlock2D(
                        **sizes,
                        num_attention_heads=heads,
                        cross_attention_dim=context_width,
                        add_downsample=not last,
                    )
                )
        attend_to_single_token(self)

    def forward(
        self, sample: Tensor, timestep: Tensor, context: Tensor, added: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Encode a latent.

        Args:
            sample: (B, in_channels, h, w). timestep: (B,). context: (B, 1, context width).
            added: (B, C_0, h, w), added after the first convolution.

        Returns:
            The outputs of the first convolution and of every block and downsampler, and the time embedding (B, 4·C_0).
        """
        time = self.time_embedding(self.time_proj(timestep).to(sample.dtype))  #     (B, 4·C_0)
        hidden = self.conv_in(sample)  #                                             (B, C_0, h, w)
        if added is not None:
            hidden = hidden + added
        features = [hidden]
        for block in self.down_blocks:
            if isinstance(block, CrossAttnDownBlock2D):
                hidden, outputs = block(hidden, time, encoder_hidden_states=context)
            else:
                hidden, outputs = block(hidden, time)
            features.extend(outputs)
        return features, time


def time_width(channels: Sequence[int]) -> int:
    """The width of the time embedding: four times the channels of the finest level."""
    return 4 * channels[0]
