"""Everything that training may change, as one module.

Letters: B images, h × w latent cells.
"""

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel

from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.image_context import ImageContext
from siftvton.model.inputs import clip_pixels
from siftvton.model.unet import TryOnUNet


class TryOnNetwork(nn.Module):
    """The conditional noise prediction of one training step."""

    def __init__(
        self,
        image_encoder: CLIPVisionModel,
        image_context: ImageContext,
        garment_encoder: GarmentEncoder,
        unet: TryOnUNet,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.image_context = image_context
        self.garment_encoder = garment_encoder
        self.unet = unet

    def forward(
        self, sample: Tensor, timestep: Tensor, garment_latent: Tensor, garment_224: Tensor, keep: Tensor
    ) -> Tensor:
        """
        Args:
            sample: (B, 13, h, w), see :class:`TryOnUNet`. timestep: (B,). garment_latent: (B, 4, h, w).
            garment_224: (B, 3, 224, 224) in [−1, 1].
            keep: (B,) bool; False drops an image's conditioning: the learned vector for its token, nothing of its
                garment. That is guidance's unconditional pass.

        Returns:
            ε̂ (B, 4, h, w).
        """
        token = self.image_context(self.image_encoder(clip_pixels(garment_224)).pooler_output)
        context = torch.where(keep.view(-1, 1, 1), token, self.image_context.unconditional.to(token.dtype))
        garment = self.garment_encoder(sample, garment_latent, timestep, context)
        return self.unet(sample, timestep, context, garment, garment_scale=keep)
