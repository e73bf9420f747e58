"""The garment encoder: features of the flat garment at several scales, for the hooked cross-attention."""

from collections.abc import Sequence

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from siftvton.model.encoder import Encoder
from siftvton.model.few_cells import convolve_few_cells


class GarmentEncoder(ModelMixin, ConfigMixin):
    """The architecture of the U-Net encoder on the same 13 channels, with the garment latent as a second input.

    Only the levels that the hooked layers read are built. The published model also runs the deepest level and a
    middle block, but nothing reads their outputs.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        in_channels: int = 13,
        latent_channels: int = 4,
        channels: Sequence[int] = (320, 640, 1280, 1280),
        blocks_per_level: int = 2,
        heads: int = 8,
        norm_groups: int = 32,
        context_width: int = 768,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(
            in_channels, channels, blocks_per_level, heads, norm_groups, context_width, attention_only=True
        )
        self.garment_conv = nn.Conv2d(latent_channels, channels[0], kernel_size=3, padding=1)
        for parameter in self.garment_conv.parameters():
            nn.init.zeros_(parameter)
        convolve_few_cells(self)

    def forward(self, sample: Tensor, garment_latent: Tensor, timestep: Tensor, context: Tensor) -> list[Tensor]:
        """Encode the garment.

        Args:
            sample: (B, 13, h, w), the same as for the U-Net. garment_latent: (B, 4, h, w). timestep: (B,).
            context: (B, 1, context width).

        Returns:
            (blocks_per_level + 1) features for each level, finest first, (B, C_l, h_l, w_l); nine in the full model.
        """
        features, _ = self.encoder(sample, timestep, context, added=self.garment_conv(garment_latent))
        return features
