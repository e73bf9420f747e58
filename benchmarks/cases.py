"""The networks that benchmarks run, at full and at toy size, with random weights; their batches and trainings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siftvton.correspondence import Correspondences
from siftvton.data.dataset import TryOnBatch
from siftvton.data.pairs import Pair
from siftvton.draws import numpy_generator
from siftvton.model import build
from siftvton.model.config import ModelConfig
from siftvton.model.inputs import Noised, noised
from siftvton.model.network import TryOnNetwork
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.training.config import OptimisationConfig, SupervisionConfig
from siftvton.training.frozen import convertible
from siftvton.training.lora import adapt, layer_names
from siftvton.training.optimizers import optimizer_of
from siftvton.training.state import select_trainable
from siftvton.training.step import step_losses

MATCHES = 45  # in each picture, as on VITON-HD
GUIDANCE = 1.5  # of sampling, as in the paper
META = torch.device("meta")
HALF = torch.bfloat16


@dataclass(frozen=True)
class Size:
    """The sizes of a network.

    Attributes:
        pictures: (height, width) in pixels.
        parts: makes the parts of the pipeline, without the scheduler.
        ladder: further batches, measured in some cases up to the first that does not fit.
    """

    pictures: tuple[int, int]
    parts: Callable[[], dict[str, Any]]
    ladder: tuple[int, ...]


def _toy_parts() -> dict[str, Any]:
    sizes = ModelConfig(
        channels=[16, 32, 32], heads=2, norm_groups=8, context_width=16, context_blocks=1, image_width=16,
        image_layers=1, image_heads=2, image_patch=56,
    )  # fmt: skip
    return {"vae": build.autoencoder([8, 16, 16], blocks_per_level=1, norm_groups=8), **build.network_parts(sizes)}


SIZES = {
    "full": Size((512, 384), build.full_parts, (2, 4, 16, 24, 32, 48, 64)),
    "toy": Size((64, 48), _toy_parts, (2, 3)),
}


@dataclass(frozen=True)
class Case:
    """A way to train.

    Attributes:
        cached: whether latents are cached, so that the autoencoder does not run.
    """

    trainable: str = "finetune"
    optimizer: str = "adamw"
    checkpointing: bool = False
    cached: bool = False

    @property
    def title(self) -> str:
        marks = {"checkpointing": self.checkpointing, "cached latents": self.cached}
        return ", ".join([self.trainable, self.optimizer, *(name for name, used in marks.items() if used)])


def batch_of(images: int, size: tuple[int, int], device: torch.device, latent: tuple[int, ...] | None) -> TryOnBatch:
    """A batch of random pictures.

    Args:
        latent: (channels, height, width) of the cached latents; None: none are cached.
    """
    height, width = size
    draw = numpy_generator(0)
    places = draw.random((images, 2, MATCHES, 2)) * (np.array([width, height]) / 2) + np.array([width, height]) / 4

    def picture(channels: int, *shape: int) -> Tensor:
        return torch.rand(images, channels, *shape, device=device)

    encoded = picture(3, *(size if latent is None else (0, 0)))  # pictures whose latents are known are not read
    return TryOnBatch(
        image=encoded,
        agnostic=encoded,
        densepose=encoded,
        keep_mask=picture(1, *size),
        garment=picture(3, *size),
        worn_mask=None,
        matches=[Correspondences(person, garment, size) for person, garment in places],
        pair=[Pair("person.jpg", "garment.jpg")] * images,
        key=[(0, index) for index in range(images)],
        latents=None if latent is None else picture(5, *latent),
    )


class Training:
    """The parts of a training, and its steps."""

    def __init__(self, case: Case, size: Size, device: torch.device) -> None:
        self.case, self.size, self.device = case, size, device
        with device:
            parts = size.parts()
        self.vae = parts.pop("vae").requires_grad_(False)
        self.network = TryOnNetwork(**parts)
        if case.checkpointing:
            self.network.enable_gradient_checkpointing()
        if case.trainable == "lora":
            self.network.requires_grad_(False)
            with device:
                adapt(self.network, layer_names(self.network, "attention"), rank=16, alpha=16, seed=0)
            self.trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        else:
            self.trained = select_trainable(self.network, case.trainable)
        for parameter in convertible(self.network):  # as place_frozen does on a GPU
            parameter.data = parameter.data.to(HALF)
        if case.cached and device != META:
            self.vae.to("cpu")
        self.scheduler = build.scheduler()
        self.supervision = SupervisionConfig(max_timestep=999)  # all images are supervised

    def optimizer(self) -> torch.optim.Optimizer:
        return optimizer_of(self.trained, OptimisationConfig(optimizer=self.case.optimizer), self.device)

    def weights(self) -> list[Tensor]:
        """All tensors on the device between two updates, without gradients and the optimiser's state."""
        parts = [self.network] if self.case.cached else [self.network, self.vae]
        return [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]

    def batch(self, images: int) -> TryOnBatch:
        stride = 2 ** (len(self.vae.config.block_out_channels) - 1)
        latent = (self.vae.config.latent_channels, *(pixels // stride for pixels in self.size.pictures))
        return batch_of(images, self.size.pictures, self.device, latent if self.case.cached else None)

    def inputs(self, batch: TryOnBatch) -> Noised:
        return noised(self.vae, self.scheduler, batch, seed=0, dropout=0.0)

    def update(self, optimizer: torch.optim.Optimizer, batch: TryOnBatch) -> None:
        """An update of two micro-batches, as the training loop runs it."""

        def network(*inputs: Tensor) -> Tensor:
            with torch.autocast(self.device.type, HALF):
                return self.network(*inputs).float()

        for _ in range(2):
            with torch.autocast(self.device.type, HALF):
                inputs = self.inputs(batch)
            with step_losses(network, self.network, self.scheduler, batch, inputs, self.supervision, 5.0) as losses:
                losses.total.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def weights_of(pipeline: TryOnPipeline) -> list[Tensor]:
    """The parameters and buffers of all parts."""
    modules = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    return [tensor for part in modules for tensor in (*part.parameters(), *part.buffers())]
