"""Everything that training may change, as one module, and how its inputs are put together.

Letters: B images, H × W pixels, h × w latent cells.
"""

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL
from torch import Generator, Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionModel

from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.image_context import ImageContext
from siftvton.model.unet import TryOnUNet

# CLIP's pixel mean and deviation (Radford et al. 2021, the paper's [24]), red first, on [0, 1].
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def draw_latents(vae: AutoencoderKL, pictures: Tensor, generators: Sequence[Generator]) -> Tensor:
    """One draw from the autoencoder's posterior for each picture, scaled to unit variance.

    Args:
        pictures: (B, 3, H, W) in [−1, 1]. generators: B CPU generators, one a picture.

    Returns:
        (B, 4, h, w) float32.
    """
    posterior = vae.encode(pictures.to(vae.dtype)).latent_dist
    noise = draw_noise(posterior.mean, generators)
    return (posterior.mean.float() + posterior.std.float() * noise) * vae.config.scaling_factor


def draw_noise(like: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Standard normal float32 of ``like``'s shape and device, each image from its own CPU generator."""
    assert len(like) == len(generators)
    return torch.stack([torch.randn(like.shape[1:], generator=g) for g in generators]).to(like.device)


def keep_mask_at(keep_mask: Tensor, size: Sequence[int]) -> Tensor:
    """The keep-mask (B, 1, H, W) at the latent's size (h, w), by antialiased bilinear resizing."""
    return functional.interpolate(keep_mask, size=tuple(size), mode="bilinear", antialias=True)


def clip_pixels(pictures: Tensor) -> Tensor:
    """(B, 3, 224, 224) in [−1, 1] -> CLIP's normalised pixels."""
    mean, std = (torch.tensor(values, device=pictures.device).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return ((pictures + 1) / 2 - mean) / std


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
