"""The losses of one micro-batch: Eq. 3.

Letters: B images, h × w latent cells.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from diffusers import PNDMScheduler
from torch import Tensor, nn

from siftvton.data.dataset import TryOnBatch
from siftvton.model.inputs import Noised
from siftvton.model.network import SupervisedNetwork
from siftvton.supervision import Recorder, ReferenceAttention, regularise, supervise, supervise_flow, supervise_places
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


@dataclass(frozen=True)
class LossInputs:
    """What an attention loss may use of a micro-batch.

    Attributes:
        network: the network, not wrapped for several processes.
    """

    network: SupervisedNetwork
    batch: TryOnBatch
    inputs: Noised
    config: SupervisionConfig

    @cached_property
    def reference(self) -> ReferenceAttention | None:
        """The matches of the images with t ≤ η that keep their conditioning; None: there are none.

        Several losses share it, so that it is counted and sent once.
        """
        supervised = self.inputs.supervised(self.config.max_timestep)
        found = ReferenceAttention.from_correspondences(self.batch.matches, self.config.match_sigma).where(supervised)
        if not len(found.image):
            return None
        # Send the references of all layers together; a layer with other grids sends its own when it runs.
        height, width = self.inputs.target.shape[-2:]
        grids = [(height // stride, width // stride) for stride in self.network.hooked_strides(self.config.layers)]
        found.on(self.inputs.target.device, *zip(grids, grids, strict=True))
        return found

    @property
    def layers(self) -> list[str]:
        return self.network.hooked_layers(self.config.layers)


def match_loss(given: LossInputs) -> AttentionLoss:
    """The paper's loss, Eq. 2, on the images with t ≤ η that keep their conditioning."""
    weight = given.config.weight
    if not weight or given.reference is None:
        return AttentionLoss(weight)
    return AttentionLoss(weight, supervise(given.network.hooked, given.reference, given.layers))


def place_loss(given: LossInputs) -> AttentionLoss:
    """The distance from the expected places to the matches, on the same images as :func:`match_loss`."""
    weight = given.config.place_weight
    if not weight or given.reference is None:
        return AttentionLoss(weight)
    return AttentionLoss(weight, supervise_places(given.network.hooked, given.reference, given.layers))


def flow_loss(given: LossInputs) -> AttentionLoss:
    """Leffa's flow loss, on the images with t ≤ η that keep their conditioning."""
    weight, batch, inputs = given.config.flow_weight, given.batch, given.inputs
    if not weight:
        return AttentionLoss(weight)
    assert batch.worn_mask is not None
    recorder = supervise_flow(given.network.hooked, batch.image, batch.garment, batch.worn_mask, given.layers)
    return AttentionLoss(weight, recorder, inputs.conditioned & (inputs.timestep <= given.config.max_timestep))


def variation_loss(given: LossInputs) -> AttentionLoss:
    """StableVITON's attention total variation."""
    weight, batch, inputs = given.config.atv_weight, given.batch, given.inputs
    if not weight:
        return AttentionLoss(weight)
    assert batch.worn_mask is not None
    # Nearest neighbour twice, as published: here to the latent's size, then to the layer's size.
    mask = nn.functional.interpolate(batch.worn_mask, size=inputs.target.shape[-2:], mode="nearest")
    network = given.network
    recorder = regularise(network.hooked, mask, batch.size, [network.variation_layer()])
    return AttentionLoss(weight, recorder, inputs.conditioned)


# The attention losses that training adds up, by the names in its logs. Register a new loss with one line here.
ATTENTION_LOSSES: dict[str, Callable[[LossInputs], AttentionLoss]] = {
    "sift": match_loss,
    "atv": variation_loss,
    "place": place_loss,
    "flow": flow_loss,
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
    given = LossInputs(inner, batch, inputs, supervision)
    losses = {name: make(given) for name, make in ATTENTION_LOSSES.items()}
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
