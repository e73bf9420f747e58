"""The network's inputs, made from pictures.

Letters: B images, H × W pixels, h × w latent cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from diffusers import AutoencoderKL, PNDMScheduler
from torch import Generator, Tensor
from torch.nn import functional

from siftvton.data.dataset import Key, TryOnBatch
from siftvton.draws import torch_generator
from siftvton.supervision.reference import sent

# Mean and standard deviation of CLIP's pixels (Radford et al. 2021, the paper's [24]), in RGB order, on [0, 1].
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
ENCODED = ("image", "agnostic", "densepose", "garment")  # the pictures of an item that the network sees as latents


def draw_latents(vae: AutoencoderKL, pictures: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Draw one sample from the autoencoder's posterior for each picture, scaled to unit variance.

    Args:
        pictures: (B, 3, H, W) in [−1, 1]. generators: B CPU generators, one for each picture.

    Returns:
        (B, 4, h, w) float32.
    """
    return _drawn(posterior(vae, pictures), vae, generators)


def posterior(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Encode pictures (B, 3, H, W) in [−1, 1]; returns (B, 2, 4, h, w) float32, means and standard deviations."""
    found = vae.encode(pictures.to(vae.dtype)).latent_dist
    return torch.stack([found.mean.float(), found.std.float()], dim=1)


def posteriors(vae: AutoencoderKL, batch: TryOnBatch) -> Tensor:
    """Encode the pictures ``ENCODED`` of a batch; returns (B, 4, 2, 4, h, w) as :func:`posterior`."""
    return torch.stack([posterior(vae, getattr(batch, name)) for name in ENCODED], dim=1)


def latents_and_noise(encoded: Tensor, scaling_factor: float, generator: Generator) -> Tensor:
    """Draw the latents of one item's pictures and its noise, in the order of :func:`noised_at`.

    Args:
        encoded: (4, 2, 4, h, w), the item's row of :func:`posteriors`.

    Returns:
        (5, 4, h, w).
    """
    drawn = torch.stack([torch.randn(encoded.shape[2:], generator=generator) for _ in range(len(encoded) + 1)])
    mean, deviation = encoded.unbind(dim=1)
    drawn[:-1].mul_(deviation).add_(mean).mul_(scaling_factor)
    return drawn


def _drawn(encoded: Tensor, vae: AutoencoderKL, generators: Sequence[Generator]) -> Tensor:
    mean, deviation = encoded.unbind(dim=1)
    return (mean + deviation * draw_noise(mean, generators)) * vae.config.scaling_factor


def draw_noise(like: Tensor, generators: Sequence[Generator]) -> Tensor:
    """Standard normal noise with the shape and device of ``like``, in float32; each image has its own CPU generator."""
    assert len(like) == len(generators)
    return torch.stack([torch.randn(like.shape[1:], generator=g) for g in generators]).to(like.device)


def keep_mask_at(keep_mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize the keep-mask (B, 1, H, W) to the latent's size (h, w), bilinear with antialiasing."""
    return functional.interpolate(keep_mask, size=tuple(size), mode="bilinear", antialias=True)


def clip_pixels(pictures: Tensor) -> Tensor:
    """Normalise pictures (B, 3, 224, 224) in [−1, 1] as CLIP expects them."""
    mean, std = _clip_statistics(pictures.device)
    return ((pictures + 1) / 2 - mean) / std


@cache
def _clip_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, (3, 1, 1) each; kept, because to send numbers to a GPU makes the CPU wait for it."""
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return mean, std


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


def noised(vae: AutoencoderKL, scheduler: PNDMScheduler, batch: TryOnBatch, seed: int, dropout: float) -> Noised:
    """Noise a batch for training; timestep, dropout, latents and noise are keyed by (seed, epoch, index)."""
    generators = [training_generator(seed, key) for key in batch.key]
    steps = scheduler.config.num_train_timesteps
    drawn = [timestep_and_conditioned(generator, steps, dropout) for generator in generators]
    timestep, conditioned = map(torch.cat, zip(*drawn, strict=True))
    return noised_at(vae, scheduler, batch, timestep, conditioned, generators)


def training_generator(seed: int, key: Key) -> Generator:
    """Return the generator of an item's draws in training: first :func:`timestep_and_conditioned`, then the latents."""
    epoch, index = key
    return torch_generator(seed, epoch, index, "training")


def timestep_and_conditioned(generator: Generator, steps: int, dropout: float) -> tuple[Tensor, Tensor]:
    """Draw an item's timestep, and whether its conditioning is kept; returns (1,) int64 and (1,) bool."""
    timestep = torch.randint(steps, (1,), generator=generator)
    return timestep, torch.rand(1, generator=generator) >= dropout


def noised_at(
    vae: AutoencoderKL,
    scheduler: PNDMScheduler,
    batch: TryOnBatch,
    timestep: Tensor,
    conditioned: Tensor,
    generators: Sequence[Generator],
) -> Noised:
    """Noise a batch to given timesteps (B,); each image's latents and noise come from its own generator.

    Args:
        timestep, conditioned: (B,), on the CPU.
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
    noisy = scheduler.add_noise(latent, noise, timestep)
    keep_mask = keep_mask_at(batch.keep_mask, latent.shape[-2:])  #                   (B, 1, h, w)
    target = noise
    if scheduler.config.prediction_type == "v_prediction":
        alpha = scheduler.alphas_cumprod.to(noise)[timestep].view(-1, 1, 1, 1)
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latent
    sample = torch.cat([noisy, agnostic, keep_mask, densepose], dim=1)
    return Noised(sample, target, garment, timestep, conditioned, drawn)
