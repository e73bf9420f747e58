"""One micro-batch: keyed draws, the network's inputs, Eq. 3.

Letters: B images, h × w latent cells.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, PNDMScheduler
from torch import Generator, Tensor, nn

from siftvton.config import SupervisionConfig
from siftvton.data.dataset import TryOnBatch
from siftvton.draws import torch_generator
from siftvton.model.network import TryOnNetwork, draw_latents, draw_noise, keep_mask_at
from siftvton.supervision import Recorder, ReferenceAttention, regularise, supervise
from siftvton.supervision.losses import min_snr_weight, noise_error, training_loss


@dataclass(frozen=True)
class Noised:
    """A batch as the network is given it, and what it has to predict.

    Attributes:
        sample: (B, 13, h, w). target: (B, 4, h, w), ε or v. garment_latent: (B, 4, h, w).
        timestep: (B,) of 0…999. keep: (B,) bool, False where the conditioning is dropped.
    """

    sample: Tensor
    target: Tensor
    garment_latent: Tensor
    timestep: Tensor
    keep: Tensor


@dataclass(frozen=True)
class StepLosses:
    """Eq. 3 and its parts, (B,) each; the attention losses before their weights.

    ``sift_at`` has Eq. 2 over the layers of one latent stride alone.
    """

    total: Tensor
    noise: Tensor
    sift: Tensor
    atv: Tensor
    sift_at: dict[int, Tensor]


def noised(vae: AutoencoderKL, scheduler: PNDMScheduler, batch: TryOnBatch, seed: int, dropout: float) -> Noised:
    """Draw timestep, dropout, latents and noise of each image, keyed by (seed, epoch, index)."""
    generators = [torch_generator(seed, epoch, index, "training") for epoch, index in batch.key]
    steps = scheduler.config.num_train_timesteps
    timestep = torch.cat([torch.randint(steps, (1,), generator=g) for g in generators])
    keep = torch.cat([torch.rand(1, generator=g) >= dropout for g in generators])
    return noised_at(vae, scheduler, batch, timestep, keep, generators)


def noised_at(
    vae: AutoencoderKL,
    scheduler: PNDMScheduler,
    batch: TryOnBatch,
    timestep: Tensor,
    keep: Tensor,
    generators: Sequence[Generator],
) -> Noised:
    """Draw each image's latents and noise from its generator, and noise it to its timestep (B,)."""
    timestep, keep = (values.to(batch.image.device) for values in (timestep, keep))
    with torch.no_grad():
        latent, agnostic, densepose, garment = (
            draw_latents(vae, pictures, generators)
            for pictures in (batch.image, batch.agnostic, batch.densepose, batch.garment)
        )
    noise = draw_noise(latent, generators)
    noisy = scheduler.add_noise(latent, noise, timestep)
    keep_mask = keep_mask_at(batch.keep_mask, latent.shape[-2:])  #                   (B, 1, h, w)
    target = noise
    if scheduler.config.prediction_type == "v_prediction":
        alpha = scheduler.alphas_cumprod.to(noise)[timestep].view(-1, 1, 1, 1)
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * latent
    return Noised(torch.cat([noisy, agnostic, keep_mask, densepose], dim=1), target, garment, timestep, keep)


@contextmanager
def step_losses(
    network: nn.Module,
    inner: TryOnNetwork,
    scheduler: PNDMScheduler,
    batch: TryOnBatch,
    inputs: Noised,
    supervision: SupervisionConfig,
    min_snr_gamma: float,
) -> Iterator[StepLosses]:
    """Run the network and give Eq. 3 per image; the backward pass belongs inside the block.

    Args:
        network: what to call, perhaps wrapped for several processes. inner: the same, unwrapped.
    """
    supervised = inputs.keep & (inputs.timestep <= supervision.max_timestep)  #       (B,)
    reference = ReferenceAttention.from_correspondences(batch.matches).where(supervised)
    unet = inner.unet
    strides = unet.hooked_strides(supervision.layers)
    sift = atv = None
    with ExitStack() as stack:
        if supervision.weight and len(reference.image):
            sift = stack.enter_context(supervise(unet, reference, unet.hooked_layers(supervision.layers)))
        if supervision.atv_weight:
            assert batch.worn_mask is not None
            # Nearest twice, as published: to the latent's size here, to the layer's there.
            mask = nn.functional.interpolate(batch.worn_mask, size=inputs.target.shape[-2:], mode="nearest")
            frame = (batch.image.shape[-2], batch.image.shape[-1])
            atv = stack.enter_context(regularise(unet, mask, frame, [unet.variation_layer()]))
        prediction = network(inputs.sample, inputs.timestep, inputs.garment_latent, batch.garment_224, inputs.keep)
        error = noise_error(prediction, inputs.target)
        sift_loss, atv_loss = _recorded(sift, error), _recorded(atv, error) * inputs.keep
        prediction_type = scheduler.config.prediction_type
        weight = min_snr_weight(scheduler.alphas_cumprod, inputs.timestep, min_snr_gamma, prediction_type)
        attention = supervision.weight * sift_loss + supervision.atv_weight * atv_loss
        sift_at = {stride: _recorded(sift, error, layers) for stride, layers in strides.items()}
        yield StepLosses(training_loss(weight, error, attention), error, sift_loss, atv_loss, sift_at)


def _recorded(recorder: Recorder | None, like: Tensor, layers: Sequence[str] | None = None) -> Tensor:
    return torch.zeros_like(like) if recorder is None else recorder.loss(layers)
