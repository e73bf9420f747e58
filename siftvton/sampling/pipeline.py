"""Sampling with classifier-free guidance, as a diffusers pipeline; by PLMS unless another sampler is chosen.

Letters: B images, H × W pixels, h × w latent cells.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DiffusionPipeline, PNDMScheduler, SchedulerMixin
from torch import Generator, Tensor
from transformers import CLIPVisionModel

from siftvton.errors import InputError, UsageError
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.image_context import ImageContext
from siftvton.model.inputs import Autoencoder, clip_pixels, draw_latents, draw_noise, keep_mask_at
from siftvton.model.network import TryOnNetwork
from siftvton.model.single_token import token_constant
from siftvton.model.unet import TryOnUNet

START_TIMESTEP = 999  # the agnostic latent is noised this far, as in the published instructions
FIRST_TIMESTEP = 890  # sampling must begin at this timestep or later; the published 10 steps begin at 901
FIXED_STRIDE = (PNDMScheduler, DDIMScheduler, DDPMScheduler)  # their steps are always ⌊1000 / steps⌋ timesteps long
ROUNDING = 10  # timesteps by which a fixed stride may miss the end, over all steps
NOT_FINITE = (
    "the result is NaN or infinite; use float32 or bfloat16 instead of float16, lower the guidance, or check the "
    "weights"
)


class NotFiniteError(InputError):
    """Some results are NaN or infinite, so they cannot become pictures.

    Attributes:
        images: the positions of these results in the batch.
        results: (B, 3, H, W) uint8; the pictures at all other positions are valid.
    """

    def __init__(self, images: Sequence[int], results: Tensor, names: str | None = None) -> None:
        """
        Args:
            names: names of the images for the message; None: their positions.
        """
        self.images, self.results = tuple(images), results
        names = names or f"image {', '.join(map(str, images))} of the batch of {len(results)}"
        super().__init__(f"{names}: {NOT_FINITE}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str]]:
        """Pass only the message to another process."""
        return InputError, (str(self),)


class TryOnPipeline(DiffusionPipeline):
    """Dresses persons in garments."""

    # In this chain, each part moves the one before it off the GPU. The garment encoder is left out, because it and the
    # U-Net take turns at every step.
    model_cpu_offload_seq = "image_encoder->image_context->unet->vae"

    def __init__(
        self,
        vae: Autoencoder,
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

    def network(self) -> TryOnNetwork:
        """The network of the parts that training can change; it shares its weights with this pipeline."""
        return TryOnNetwork(self.image_encoder, self.image_context, self.garment_encoder, self.unet)

    @property
    def stride(self) -> int:
        """The number that divides every height and width: VAE stride × deepest latent stride of the U-Net."""
        vae_stride = 2 ** (len(self.vae.config.block_out_channels) - 1)
        return vae_stride * 2 ** (len(self.unet.config.channels) - 1)

    def require_size(self, height: int, width: int) -> None:
        """Check the size of pictures, in pixels.

        Raises:
            UsageError: pictures of this size do not fit the network.
        """
        if height % self.stride or width % self.stride:
            raise UsageError(
                f"data.height={height} data.width={width} is not allowed; use multiples of {self.stride} for both"
            )

    def require_steps(self, steps: int, key: str = "steps") -> None:
        """Check the number of sampling steps.

        Args:
            key: the configuration key, for the message.

        Raises:
            UsageError: the sampler does not allow this number of steps.
        """
        with_timesteps(self.scheduler, steps, key=key)

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
        progress: Callable[[Iterable], Iterable] | None = None,
    ) -> Tensor:
        """Dress the persons of a batch.

        Calls of one pipeline must not overlap, because its parts keep the image context during a call.

        Args:
            image, agnostic, densepose, garment: (B, 3, H, W) in [−1, 1].
            garment_224: (B, 3, 224, 224) in [−1, 1].
            keep_mask: (B, 1, H, W) in [0, 1]; 1: keep the pixel, 0: paint it.
            generators: B CPU generators, one for each image; an image's result does not depend on the others.
            steps: sampling steps; PLMS predicts the noise one more time.
            guidance: ε = ε_u + guidance·(ε_c − ε_u); with 1 there is no unconditional pass.
            start: ``agnostic``, the noised latent of the agnostic image; or ``noise``.
            paste_back: copy the photo's pixels where the keep-mask is 1, and blend on its soft edge.
            progress: wraps the iterable of timesteps, as tqdm does; None: the pipeline's own progress bar.

        Returns:
            (B, 3, H, W) uint8.

        Raises:
            ValueError: the size is not a multiple of :attr:`stride`, or ``start`` is unknown.
            UsageError: the sampler does not allow this number of steps.
            NotFiniteError: some results are NaN or infinite; the error holds the other pictures.
        """
        if start not in ("agnostic", "noise"):
            raise ValueError(f"start={start} is not allowed; use agnostic or noise")
        if any(size % self.stride for size in image.shape[-2:]):
            raise ValueError(
                f"pictures of {image.shape[-2]}x{image.shape[-1]} pixels are not allowed; "
                f"use multiples of {self.stride} for both"
            )
        device, dtype = self._execution_device, self.unet.dtype
        pictures = [picture.to(device) for picture in (agnostic, densepose, garment)]
        with untiled(self.vae):
            agnostic_latent, densepose_latent, garment_latent = (
                draw_latents(self.vae, picture, generators) for picture in pictures
            )  #                                                                      (B, 4, h, w) each
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
            shown = progress or self.progress_bar
            latents = guided_sampling(self.scheduler, predict, noise, steps, guidance, generators, shown)
        decoded = self.vae.decode((latents / self.vae.config.scaling_factor).to(self.vae.dtype)).sample.float()
        failed = not_finite(decoded)
        result = decoded.clamp(-1, 1)
        self.maybe_free_model_hooks()
        if paste_back:
            keep = keep_mask.to(device)
            result = image.to(device) * keep + result * (1 - keep)
        levels = ((result + 1) * 127.5 + 0.5).floor().clamp(0, 255).to(torch.uint8)
        if failed:
            raise NotFiniteError(failed, levels)
        return levels


def not_finite(pictures: Tensor) -> list[int]:
    """The positions of the pictures (B, 3, H, W) that hold NaN or infinite values."""
    return (~pictures.isfinite().flatten(1).all(dim=1)).nonzero()[:, 0].tolist()


@contextmanager
def untiled(vae: Autoencoder) -> Iterator[None]:
    """Switch off tiles while pictures are encoded, because tiles would change the network's inputs."""
    tiling, vae.use_tiling = vae.use_tiling, False
    try:
        yield
    finally:
        vae.use_tiling = tiling


def guided_sampling(
    scheduler: Any,
    predict: Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]],
    latents: Tensor,
    steps: int,
    guidance: float,
    generators: Sequence[Generator] = (),
    progress: Callable = iter,
) -> Tensor:
    """Run the steps of a diffusers scheduler with classifier-free guidance.

    Args:
        scheduler: by default PNDMScheduler, which is PLMS (Liu et al. 2022, the paper's [18]).
        predict: (latents, timestep) -> conditional and unconditional prediction; the latter is None without guidance.
        latents: the start of sampling, at unit variance.
        generators: one for each image, for schedulers that draw noise at every step.

    Returns:
        The latents at the end of sampling.

    Raises:
        UsageError: the scheduler does not allow this number of steps.
    """
    scheduler = with_timesteps(scheduler, steps, latents.device)
    latents = latents * scheduler.init_noise_sigma
    draws = "generator" in inspect.signature(scheduler.step).parameters
    extra = {"generator": list(generators)} if draws and generators else {}
    for timestep in progress(scheduler.timesteps):
        conditional, bare = predict(scheduler.scale_model_input(latents, timestep), timestep)
        guided = conditional if bare is None else bare + guidance * (conditional - bare)
        latents = scheduler.step(guided, timestep, latents, **extra, return_dict=False)[0]
    return latents


def with_timesteps(scheduler: Any, steps: int, device: torch.device | None = None, key: str = "steps") -> Any:
    """A copy of the scheduler, with timesteps that fit a start noised to t = 999.

    The scheduler keeps its own spacing if that begins at t = 890 or later. Otherwise it gets "trailing" spacing, which
    begins at t = 999. For the published noise schedule of 1000 timesteps with "leading" spacing, this gives:

    ===========  =============================================  =================================================
    steps        PLMS, DDIM, DDPM                               the other samplers
    ===========  =============================================  =================================================
    1 to 9       trailing: 999, 999 − 1000/steps, …             trailing, or their own if that begins late enough
    10 to 111    as published: the last is 1 and the first      their own
                 1 + (steps − 1)·⌊1000/steps⌋, so 901 with 10
                 and 981 with 50
    112 to 999   as published if that begins at 890 or later,   their own, or trailing if that begins too early
                 e.g. 125, 200, 250, 333, 500; else refused,
                 e.g. 112, 167 to 178, 334 to 445, 501 to 889
    1000         trailing: 999, 998, …, 0                       trailing; DPMSolverSinglestepScheduler refuses
    ===========  =============================================  =================================================

    Args:
        key: the configuration key, for the message.

    Raises:
        UsageError: neither spacing fits; the message gives the nearest allowed numbers of steps.
    """
    found = _spaced(scheduler, steps, device)
    if found is not None:
        return found
    longest = scheduler.config.num_train_timesteps
    fewer, more = range(min(steps, longest + 1) - 1, 0, -1), range(steps + 1, longest + 1)
    nearest = (next((n for n in counts if _spaced(scheduler, n) is not None), None) for counts in (fewer, more))
    allowed = " or ".join(str(n) for n in nearest if n is not None)
    raise UsageError(
        f"{key}={steps}: {type(scheduler).__name__} cannot divide the noise schedule into this number of steps; "
        f"use {allowed}"
    )


def _spaced(scheduler: Any, steps: int, device: torch.device | None = None) -> Any:
    """A copy of the scheduler with its own spacing or, if that does not fit, trailing spacing; None: neither fits.

    Samplers with a fixed stride always step by ⌊1000 / steps⌋ timesteps, so their timesteps must have this distance,
    apart from rounding. The other samplers divide by zero if a timestep occurs twice.
    """
    longest = scheduler.config.num_train_timesteps
    if not 1 <= steps <= longest:
        return None
    for spacing in ({}, {"timestep_spacing": "trailing"}):
        copy = type(scheduler).from_config(scheduler.config, **spacing)
        try:
            copy.set_timesteps(steps, device=device)
        except IndexError:  # leading spacing with an offset can exceed the schedule
            continue
        times = copy.timesteps.tolist()
        if not FIRST_TIMESTEP <= times[0] < longest:
            continue
        if isinstance(copy, FIXED_STRIDE):
            fits = abs(times[0] - times[-1] - (steps - 1) * (longest // steps)) <= ROUNDING
        else:
            fits = len(set(times)) >= steps
        if fits:
            return copy
    return None
