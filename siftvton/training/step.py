"""The losses of one micro-batch: Eq. 3.

Letters: B images, h × w latent cells.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import torch
from diffusers import PNDMScheduler
from torch import Tensor, nn

from siftvton.data.dataset import TryOnBatch
from siftvton.model.inputs import Noised
from siftvton.model.network import SupervisedNetwork
from siftvton.supervision import Recorder, ReferenceAttention, regularise, supervise
from siftvton.supervision.losses import min_snr_weight, noise_error, training_loss
from siftvton.training.config import SupervisionConfig


@dataclass(frozen=True)
class StepLosses:
    """Eq. 3 and its parts, (B,) each.

    Attributes:
        total: the loss that is minimised.
        noise: the error of the prediction.
        attention: each of ``ATTENTION_LOSSES`` without its weight; 0 if it does not run.
        sift_at: for each latent stride, Eq. 2 over the layers at this stride alone.
    """

    total: Tensor
    noise: Tensor
    attention: dict[str, Tensor]
    sift_at: dict[int, Tensor]


@dataclass(frozen=True)
class AttentionLoss:
    """A loss on the hooked cross-attention.

    Attributes:
        weight: the factor of the loss in the sum.
        recorder: records the loss during the network's forward pass; None: the loss does not run.
        counts: (B,) a factor for each image; None: 1 for all images.
    """

    weight: float
    recorder: AbstractContextManager[Recorder] | None = None
    counts: Tensor | None = None


def match_loss(
    network: SupervisedNetwork, batch: TryOnBatch, inputs: Noised, config: SupervisionConfig
) -> AttentionLoss:
    """The paper's loss, Eq. 2, on the images with t ≤ η that keep their conditioning."""
    supervised = inputs.supervised(config.max_timestep)
    reference = ReferenceAttention.from_correspondences(batch.matches).where(supervised)
    if not config.weight or not len(reference.image):
        return AttentionLoss(config.weight)
    layers = network.hooked_layers(config.layers)
    # Send the references of all layers together; a layer with other grids sends its own when it runs.
    height, width = inputs.target.shape[-2:]
    grids = [(height // stride, width // stride) for stride in network.hooked_strides(config.layers)]
    reference.on(inputs.target.device, *zip(grids, grids, strict=True))
    return AttentionLoss(config.weight, supervise(network.hooked, reference, layers))


def variation_loss(
    network: SupervisedNetwork, batch: TryOnBatch, inputs: Noised, config: SupervisionConfig
) -> AttentionLoss:
    """StableVITON's attention total variation."""
    if not config.atv_weight:
        return AttentionLoss(config.atv_weight)
    assert batch.worn_mask is not None
    # Nearest neighbour twice, as published: here to the latent's size, then to the layer's size.
    mask = nn.functional.interpolate(batch.worn_mask, size=inputs.target.shape[-2:], mode="nearest")
    frame = batch.size
    recorder = regularise(network.hooked, mask, frame, [network.variation_layer()])
    return AttentionLoss(config.atv_weight, recorder, counts=inputs.conditioned)


# The attention losses that training adds up, by the names in its logs. Register a new loss with one line here.
ATTENTION_LOSSES: dict[str, Callable[[SupervisedNetwork, TryOnBatch, Noised, SupervisionConfig], AttentionLoss]] = {
    "sift": match_loss,
    "atv": variation_loss,
}


@contextmanager
def step_losses(
    network: nn.Module,
    inner: SupervisedNetwork,
    scheduler: PNDMScheduler,
    batch: TryOnBatch,
    inputs: Noised,
    supervision: SupervisionConfig,
    min_snr_gamma: float | None,
) -> Iterator[StepLosses]:
    """Run the network and yield Eq. 3 for each image; run the backward pass inside the block.

    Args:
        network: the network to call, perhaps wrapped for several processes. inner: the same network, unwrapped.
    """
    losses = {name: make(inner, batch, inputs, supervision) for name, make in ATTENTION_LOSSES.items()}
    with ExitStack() as stack:
        recorders = {
            name: None if loss.recorder is None else stack.enter_context(loss.recorder) for name, loss in losses.items()
        }
        prediction = network(
            inputs.sample, inputs.timestep, inputs.garment_latent, batch.garment_224, inputs.conditioned
        )
        error = noise_error(prediction, inputs.target)
        found = {}
        attention = torch.zeros_like(error)
        for name, loss in losses.items():
            found[name] = _recorded(recorders[name], error)
            if loss.counts is not None:
                found[name] = found[name] * loss.counts
            attention = attention + loss.weight * found[name]
        prediction_type = scheduler.config.prediction_type
        weight = min_snr_weight(scheduler.alphas_cumprod, inputs.timestep, min_snr_gamma, prediction_type)
        strides = inner.hooked_strides(supervision.layers)
        sift_at = {stride: _recorded(recorders["sift"], error, layers) for stride, layers in strides.items()}
        yield StepLosses(training_loss(weight, error, attention), error, found, sift_at)


def _recorded(recorder: Recorder | None, like: Tensor, layers: Sequence[str] | None = None) -> Tensor:
    return torch.zeros_like(like) if recorder is None else recorder.loss(layers)
