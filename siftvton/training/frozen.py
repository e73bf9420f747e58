"""Where the frozen parts are in training on a GPU, and in which precision.

Autocast computes linear layers and convolutions in half precision, so it converts their weights at every use. Frozen
weights are therefore stored in half precision from the start: the results are the same bits, and the copies go away.
The exact weights stay in main memory and are used when a checkpoint or a model is written. Frozen weights of
normalisation layers stay in float32, because autocast uses them in float32. So does the autoencoder: it is small, and
validation uses it without autocast. If latents are cached, only validation needs the autoencoder on the GPU.

CLIP's output is not cached: at full size its forward pass is 3 % of a training step's operations.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from siftvton.model.inputs import Autoencoder
from siftvton.model.single_token import unused_parameters
from siftvton.training.identity import tensors_digest

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Frozen:
    """The frozen parts of a run.

    Attributes:
        exact: the float32 values of the parameters that are stored in half precision, in main memory.
        vae: the autoencoder.
        needed_on: the device that validation needs it on; None: it is always there.
    """

    exact: Mapping[nn.Parameter, Tensor]
    vae: Autoencoder
    needed_on: torch.device | None = None

    @contextmanager
    def in_full_precision(self) -> Iterator[None]:
        """Use the exact values inside the block, to write them."""
        stored = {parameter: parameter.data for parameter in self.exact}
        try:
            for parameter, value in self.exact.items():
                parameter.data = value
            yield
        finally:
            for parameter, value in stored.items():
                parameter.data = value

    @contextmanager
    def with_autoencoder(self) -> Iterator[None]:
        """Keep the autoencoder on the device inside the block."""
        if self.needed_on is None:
            yield
            return
        self.vae.to(self.needed_on)
        try:
            yield
        finally:
            self.vae.to("cpu")


def lay_out_autoencoder(vae: Autoencoder, device: torch.device, mixed_precision: str) -> None:
    """Store the autoencoder's weights as its convolutions read them: on a CPU in bf16, with the channels last.

    On one core with AMX, encoding in bf16 then takes about half of the time; the latents differ by rounding. In
    float32, a twentieth of the time is saved, so the layout stays as it is, and so do the bits.
    """
    if device.type == "cpu" and mixed_precision == "bf16":
        vae.to(memory_format=torch.channels_last)


def place_frozen(
    vae: Autoencoder, network: nn.Module, device: torch.device, mixed_precision: str, cached: bool
) -> Frozen:
    """Store the frozen parts for training on ``device``; on a CPU nothing changes.

    Args:
        mixed_precision: ``no``, ``fp16`` or ``bf16``.
        cached: whether latents are cached, so that updates do not use the autoencoder.
    """
    if device.type == "cpu":
        return Frozen({}, vae)
    if cached:
        vae.to("cpu")
    exact = halve_frozen(network, HALF[mixed_precision]) if mixed_precision in HALF else {}
    return Frozen(exact, vae, device if cached else None)


def frozen_digest(network: nn.Module) -> str | None:
    """SHA-256 of the frozen parameters that have an effect; None if there are none."""
    unused = unused_parameters(network)
    frozen = [
        (name, parameter)
        for name, parameter in network.named_parameters()
        if not parameter.requires_grad and name not in unused
    ]
    return tensors_digest(frozen) if frozen else None


def halve_frozen(network: nn.Module, dtype: torch.dtype) -> dict[nn.Parameter, Tensor]:
    """Convert the frozen weights that autocast would convert to ``dtype``; returns their exact values on the CPU."""
    exact = {}
    for parameter in convertible(network):
        exact[parameter] = parameter.data.cpu()
        parameter.data = parameter.data.to(dtype)
    return exact


def convertible(network: nn.Module) -> list[nn.Parameter]:
    """The frozen float32 parameters of linear layers and convolutions, which autocast converts at every use."""
    return [
        parameter
        for module in network.modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
        for parameter in module.parameters(recurse=False)
        if not parameter.requires_grad and parameter.dtype == torch.float32
    ]
