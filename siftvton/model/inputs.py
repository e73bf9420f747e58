"""The network's inputs, made from pictures.

Letters: B images, H × W pixels, h × w latent cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, PNDMScheduler
from torch import Generator, Tensor
from torch.nn import functional

from siftvton.data.dataset import Key, TryOnBatch
from siftvton.draws import torch_generator
from siftvton.supervision.reference import sent

# Mean and standard deviation of CLIP's pixels (Radford et al. 2021, the paper's [24]), in RGB order, on [0, 1].
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
Autoencoder: TypeAlias = AutoencoderKL | AutoencoderTiny
ENCODED = ("image", "agnostic", "densepose", "garment")  # the pictures of an item that the network sees as latents


def draw_latents(vae: Autoencoder, pictures: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Draw one sample from the autoencoder's posterior for each picture, scaled to unit variance.

    Args:
        pictures: (B, 3, H, W) in [−1, 1]. generators: B CPU generators, one for each picture.

    Returns:
        (B, 4, h, w) float32.
    """
    return _drawn(posterior(vae, pictures), vae, generators)


def posterior(vae: Autoencoder, pictures: Tensor) -> Tensor:
    """Encode pictures (B, 3, H, W) in [−1, 1]; returns (B, 2, 4, h, w) float32, means and standard deviations.

    A tiny autoencoder has a single latent for a picture, so its deviation is 0.
    """
    encoded = vae.encode(pictures.to(vae.dtype))
    if isinstance(vae, AutoencoderTiny):
        latents = encoded.latents.float()
        return torch.stack([latents, torch.zeros_like(latents)], dim=1)
    found = encoded.latent_dist
    return torch.stack([found.mean.float(), found.std.float()], dim=1)


def posteriors(vae: Autoencoder, batch: TryOnBatch) -> Tensor:
    """Encode the pictures ``ENCODED`` of a batch; returns (B, 4, 2, 4, h, w) as :func:`posterior`."""
    return torch.stack([posterior(vae, getattr(batch, name)) for name in ENCODED], dim=1)


def latents_and_noise(
    encoded: Tensor, scaling_factor: float, generator: Generator, noise_offset: float = 0.0
) -> Tensor:
    """Draw the latents of one item's pictures and its noise, in the order of :func:`noised_at`.

    Args:
        encoded: (4, 2, 4, h, w), the item's row of :func:`posteriors`.
        noise_offset: as in :func:`noised`.

    Returns:
        (5, 4, h, w).
    """
    drawn = torch.stack([torch.randn(encoded.shape[2:], generator=generator) for _ in range(len(encoded) + 1)])
    mean, deviation = encoded.unbind(dim=1)
    drawn[:-1].mul_(deviation).add_(mean).mul_(scaling_factor)
    if noise_offset:
        drawn[-1] += _noise_shift(len(drawn[-1]), noise_offset, generator)
    return drawn


def _drawn(encoded: Tensor, vae: Autoencoder, generators: Sequence[Generator]) -> Tensor:
    mean, deviation = encoded.unbind(dim=1)
    return (mean + deviation * draw_noise(mean, generators)) * vae.config.scaling_factor


def draw_noise(like: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Standard normal noise with the shape and device of ``like``, in float32; each image has its own CPU generator."""
    assert len(like) == len(generators)
    return sent(torch.stack([torch.randn(like.shape[1:], generator=g) for g in generators]), like.device)


def _noise_shift(channels: int, deviation: float, generator: Generator) -> Tensor:
    """One draw for each channel of an image's noise, the same at all cells: (channels, 1, 1)."""
    return deviation * torch.randn(channels, 1, 1, generator=generator)


def keep_mask_at(keep_mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize the keep-mask (B, 1, H, W) to the latent's size (h, w), bilinear with antialiasing."""
    return functional.interpolate(keep_mask, size=tuple(size), mode="bilinear", antialias=True)


def clip_constants(device: torch.device) -> Tensor:
    """Mean and standard deviation of CLIP's pixels, (2, 3, 1, 1)."""
    return sent(torch.tensor([CLIP_MEAN, CLIP_STD]).view(2, 3, 1, 1), device)


def clip_pixels(pictures: Tensor, constants: Tensor | None = None) -> Tensor:
    """Normalise pictures (B, 3, 224, 224) in [−1, 1] as CLIP expects them.

    Args:
        constants: :func:`clip_constants`, if the caller keeps them; if parts of a model are offloaded, they may be on
            another device.
    """
    mean, std = clip_constants(pictures.device) if constants is None else constants.to(pictures.device)
    return ((pictures + 1) / 2 - mean) / std


@dataclass(frozen=True)
class Noised:
    """The network's inputs for a noised batch, and its target.

    Attributes:
        sample: (B, 13, h, w). target: (B, 4, h, w), ε or v. garment_latent: (B, 4, h, w).
        timestep: (B,) from 0 to 999.
        conditioned: (B,) bool; False where garment and image context are dropped.
        drawn: timestep and conditioned on the CPU, where they were drawn; None: copies of the two above.
    """

    sample: Tensor
    target: Tensor
    garment_latent: Tensor
    timestep: Tensor
    conditioned: Tensor
    drawn: tuple[Tensor, Tensor] | None = None

    def supervised(self, max_timestep: int) -> Tensor:
        """(B,) bool on the CPU: the images with t ≤ ``max_timestep`` that keep their conditioning.

        The CPU reads its own copies, because reading from a GPU would wait until it has finished its work.
        """
        timestep, conditioned = self.drawn or (self.timestep.cpu(), self.conditioned.cpu())
        return conditioned & (timestep <= max_timestep)


def noised(
    vae: Autoencoder,
    scheduler: PNDMScheduler,
    batch: TryOnBatch,
    seed: int,
    dropout: float,
    noise_offset: float = 0.0,
) -> Noised:
    """Noise a batch for training; timestep, dropout, latents and noise are keyed by (seed, epoch, index).

    Args:
        noise_offset: standard deviation of a shift that all cells of a channel share, which is drawn last and added to
            the noise. Without it, noise hardly changes the mean of a latent, so a network hardly learns to change the
            brightness of a whole picture (Guttenberg 2023, "Diffusion with offset noise").
    """
    generators = [training_generator(seed, key) for key in batch.key]
    steps = scheduler.config.num_train_timesteps
    drawn = [timestep_and_conditioned(generator, steps, dropout) for generator in generators]
    timestep, conditioned = map(torch.cat, zip(*drawn, strict=True))
    return noised_at(vae, scheduler, batch, timestep, conditioned, generators, noise_offset)


def training_generator(seed: int, key: Key) -> Generator:
    """Return the generator of an item's draws in training: first :func:`timestep_and_conditioned`, then the latents."""
    epoch, index = key
    return torch_generator(seed, epoch, index, "training")


def timestep_and_conditioned(generator: Generator, steps: int, dropout: float) -> tuple[Tensor, Tensor]:
    """Draw an item's timestep, and whether its conditioning is kept; returns (1,) int64 and (1,) bool."""
    timestep = torch.randint(steps, (1,), generator=generator)
    return timestep, torch.rand(1, generator=generator) >= dropout


def noised_at(
    vae: Autoencoder,
    scheduler: PNDMScheduler,
    batch: TryOnBatch,
    timestep: Tensor,
    conditioned: Tensor,
    generators: Sequence[Generator],
    noise_offset: float = 0.0,
) -> Noised:
    """Noise a batch to given timesteps (B,); each image's latents and noise come from its own generator.

    Args:
        timestep, conditioned: (B,), on the CPU.
        noise_offset: as in :func:`noised`; the noise of a batch that has its latents already contains it.
    """
    drawn = timestep, conditioned
    timestep, conditioned = (sent(values, batch.keep_mask.device) for values in drawn)
    if batch.latents is not None:
        latent, agnostic, densepose, garment, noise = batch.latents.unbind(dim=1)
    else:
        with torch.no_grad():
            encoded = posteriors(vae, batch).unbind(dim=1)
            latent, agnostic, densepose, garment = (_drawn(each, vae, generators) for each in encoded)
        noise = draw_noise(latent, generators)
        if noise_offset:
            shifts = [_noise_shift(latent.shape[1], noise_offset, generator) for generator in generators]
            noise = noise + sent(torch.stack(shifts), noise.device)  #                (B, 4, 1, 1)
    noisy = scheduler.add_noise(latent, noise, timestep)
    keep_mask = keep_mask_at(batch.keep_mask, latent.shape[-2:])  #                   (B, 1, h, w)
    target = noise
    if scheduler.config.prediction_type == "v_prediction":
        alpha = scheduler.alphas_cumprod.to(noise)[timestep].view(-1, 1, 1, 1)
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latent
    sample = torch.cat([noisy, agnostic, keep_mask, densepose], dim=1)
    return Noised(sample, target, garment, timestep, conditioned, drawn)
