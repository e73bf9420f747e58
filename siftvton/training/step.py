"""One micro-batch: keyed draws, the network's inputs, Eq. 3.

Letters: B images, h × w latent cells.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from diffusers import PNDMScheduler
from torch import Tensor, nn

from siftvton.data.dataset import TryOnBatch
from siftvton.model.inputs import Noised
from siftvton.model.network import TryOnNetwork
from siftvton.supervision import Recorder, ReferenceAttention, regularise, supervise
from siftvton.supervision.losses import min_snr_weight, noise_error, training_loss
from siftvton.training.config import SupervisionConfig


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
