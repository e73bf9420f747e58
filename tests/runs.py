"""Run training in this process, and read what it wrote."""

import json
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from safetensors.torch import load_file

from siftvton.training.config import Train
from siftvton.training.loop import train


def run(config: Train) -> Path:
    train(config)
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    return Path(config.output)


def weights(output: Path, folder: str = "model") -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": tensor
        for part in ("unet", "garment_encoder", "image_context", "image_encoder")
        for file in (output / folder / part).glob("*.safetensors")
        for name, tensor in load_file(file).items()
    }


def same_weights(first: Path, second: Path) -> bool:
    ours, theirs = weights(first), weights(second)
    return ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def metrics(output: Path) -> list[dict[str, float]]:
    return _lines(output / "metrics.jsonl")


def validations(output: Path) -> list[dict[str, float]]:
    return _lines(output / "validation.jsonl")


def _lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
