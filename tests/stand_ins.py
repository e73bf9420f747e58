"""Random pictures, and networks with random weights that have the interfaces of the published ones."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from siftvton.draws import numpy_generator, torch_generator
from siftvton.files import sha256

HEIGHT, WIDTH = 64, 48
PERSONS = 6


def picture(*key: int | str, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Blocks of random colours, the same for the same key."""
    colours = numpy_generator(*key).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.kron(colours, np.ones((8, 8, 1), np.uint8))


class Layers(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 16, 13, stride=13)
        self.linear = nn.Linear(16 * 4, features)

    def forward(self, pictures: Tensor) -> Tensor:
        hidden = torch.relu(self.convolution(pictures))
        return self.linear(nn.functional.adaptive_avg_pool2d(hidden, 2).flatten(1))


class Inception(nn.Module):
    """Takes [0, 255]; its ``layers``, which clean-fid calls, take [-1, 1]."""

    def __init__(self, features: int = 2048) -> None:
        super().__init__()
        self.layers = Layers(features)
        generator = torch_generator("inception")
        for parameter in self.parameters():
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)

    def forward(self, pictures: Tensor, return_features: bool = False) -> Tensor:
        return self.layers((pictures - 128) / 128)


def save_inception(path: Path, features: int = 2048) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that TorchScript is deprecated
        torch.jit.script(Inception(features)).save(str(path))
    return path


def allow_inception(config: Any, path: Path) -> None:
    """Name a stand-in for Inception and allow it, because it is not the published file."""
    config.inception, config.inception_sha256 = str(path), sha256(path)


def alexnet_state() -> dict[str, Tensor]:
    """Random weights with torchvision's names and shapes; of the large classifier, only one tensor."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in torchvision.models.AlexNet().features.state_dict().items()}
    generator = torch_generator("alexnet")
    state = {f"features.{name}": 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {**state, "classifier.6.bias": torch.zeros(1000)}
