"""Sampling with classifier-free guidance (by PLMS, if nothing else is said) as a diffusers pipeline.

Letters: B images, H × W pixels, h × w latent cells.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL, DiffusionPipeline, SchedulerMixin
from torch import Generator, Tensor
from transformers import CLIPVisionModel

from siftvton.errors import UsageError
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.image_context import ImageContext
from siftvton.model.network import clip_pixels, draw_latents, draw_noise, keep_mask_at
from siftvton.model.single_token import token_constant
from siftvton.model.unet import TryOnUNet

START_TIMESTEP = 999  # the agnostic latent is noised this far, as in the published instructions


class TryOnPipeline(DiffusionPipeline):
    """Dress persons in garments."""

    # The garment encoder is not in this chain, in which each part sends the one before it away: it and the U-Net take
    # turns at every step.
    model_cpu_offload_seq = "image_encoder->image_context->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        image_encoder: CLIPVisionModel,
        image_context: ImageContext,
        garment_encoder: GarmentEncoder,
        unet: TryOnUNet,
        scheduler: SchedulerMixin,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            image_encoder=image_encoder,
            image_context=image_context,
            garment_encoder=garment_encoder,
            unet=unet,
            scheduler=scheduler,
        )

    @property
    def stride(self) -> int:
        """Heights and widths must be multiples of this: VAE stride × the U-Net's deepest latent stride."""
        vae_stride = 2 ** (len(self.vae.config.block_out_channels) - 1)
        return vae_stride * 2 ** (len(self.unet.config.channels) - 1)

    def require_size(self, height: int, width: int) -> None:
        """
        Raises:
            UsageError: pictures of this size, pixels, do not fit the network.
        """
        if height % self.stride or width % self.stride:
            raise UsageError(f"data.height={height} data.width={width}: multiples of {self.stride} are allowed")

    @torch.no_grad()
    def __call__(
        self,
        image: Tensor,
        agnostic: Tensor,
        densepose: Tensor,
        garment: Tensor,
        garment_224: Tensor,
        keep_mask: Tensor,
        generators: Sequence[Generator],
        steps: int = 50,
        guidance: float = 1.5,
        start: str = "agnostic",
        paste_back: bool = True,
    ) -> Tensor:
        """
        Args:
            image, agnostic, densepose, garment: (B, 3, H, W) in [−1, 1].
            garment_224: (B, 3, 224, 224) in [−1, 1].
            keep_mask: (B, 1, H, W) in [0, 1]; 1 = unchanged, 0 = to paint.
            generators: B CPU generators; each image's result depends on its own alone.
            steps: of sampling; PLMS predicts the noise once more than that.
            guidance: ε = ε_u + guidance·(ε_c − ε_u); with 1 there is no unconditional pass.
            start: ``agnostic``, the noised latent of the agnostic image, or ``noise``.
            paste_back: take the photo's own pixels where the keep-mask says so, and a blend on its soft edge.

        Returns:
            (B, 3, H, W) uint8.

        Raises:
            ValueError: the size is not a multiple of :attr:`stride`, or ``start`` is unknown.
        """
        if start not in ("agnostic", "noise"):
            raise ValueError(f"start={start}: allowed are agnostic, noise")
        if any(size % self.stride for size in image.shape[-2:]):
            raise ValueError(f"pictures are {tuple(image.shape[-2:])}, multiples of {self.stride} are allowed")
        device, dtype = self._execution_device, self.unet.dtype
        pictures = [picture.to(device) for picture in (agnostic, densepose, garment)]
        agnostic_latent, densepose_latent, garment_latent = (
            draw_latents(self.vae, picture, generators) for picture in pictures
        )  #                                                                          (B, 4, h, w) each
        noise = draw_noise(agnostic_latent, generators)
        if start == "agnostic":
            alpha = self.scheduler.alphas_cumprod[START_TIMESTEP].to(noise)
            noise = alpha.sqrt() * agnostic_latent + (1 - alpha).sqrt() * noise
        keep_latent = keep_mask_at(keep_mask.to(device), noise.shape[-2:])  #               (B, 1, h, w)
        conditions = torch.cat([agnostic_latent, keep_latent, densepose_latent], dim=1)  # (B, 9, h, w)
        pooled = self.image_encoder(clip_pixels(garment_224.to(device)).to(dtype)).pooler_output
        context = self.image_context(pooled)  #                                      (B, 1, context width)
        if guidance != 1:
            context_of_both = torch.cat([context, self.image_context.unconditional.expand_as(context)])

        def predict(latents: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor | None]:
            sample = torch.cat([latents, conditions], dim=1).to(dtype)  #             (B, 13, h, w)
            time = timestep.to(device).expand(len(sample))
            features = self.garment_encoder(sample, garment_latent.to(dtype), time, context)
            if guidance == 1:
                return self.unet(sample, time, context, features).float(), None
            both = self.unet(sample.repeat(2, 1, 1, 1), time.repeat(2), context_of_both, features)
            conditional, bare = both.float().chunk(2)
            return conditional, bare

        with token_constant(self.garment_encoder, self.unet):
            latents = guided_sampling(self.scheduler, predict, noise, steps, guidance, generators, self.progress_bar)
        decoded = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.vae.dtype)).sample.float()
        result = decoded.clamp(-1, 1)
        self.maybe_free_model_hooks()
        if paste_back:
            keep = keep_mask.to(device)
            result = image.to(device) * keep + result * (1 - keep)
        return ((result + 1) * 127.5 + 0.5).floor().clamp(0, 255).to(torch.uint8)


def guided_sampling(
    scheduler: Any,
    predict: Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]],
    latents: Tensor,
    steps: int,
    guidance: float,
    generators: Sequence[Generator] = (),
    progress: Callable = iter,
) -> Tensor:
    """A diffusers scheduler's steps with classifier-free guidance.

    Args:
        scheduler: the default is PLMS (Liu et al. 2022, the paper's [18]), PNDMScheduler.
        predict: (latents, timestep) -> conditional and unconditional prediction; None for the latter where unused.
        latents: what to start from, at unit variance.
        generators: one an image, for schedulers that draw noise at every step.
    """
    scheduler.set_timesteps(steps, device=latents.device)
    latents = latents * scheduler.init_noise_sigma
    draws = "generator" in inspect.signature(scheduler.step).parameters
    extra = {"generator": list(generators)} if draws and generators else {}
    for timestep in progress(scheduler.timesteps):
        conditional, bare = predict(scheduler.scale_model_input(latents, timestep), timestep)
        guided = conditional if bare is None else bare + guidance * (conditional - bare)
        latents = scheduler.step(guided, timestep, latents, **extra, return_dict=False)[0]
    return latents
