"""Low-rank updates of a network's layers: their file, which diffusers' users know, and how they are merged.

The file is ``pytorch_lora_weights.safetensors`` with tensors ``<part>.<layer>.lora_A.weight`` (r, inputs) and
``….lora_B.weight`` (outputs, r). Its header has the rank and α under ``lora_adapter_metadata``.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY, LORA_WEIGHT_NAME_SAFE
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from siftvton.errors import InputError
from siftvton.files import json_value, write_json, written_whole
from siftvton.finite import first_not_finite
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.weight_files import read_safetensors, require_floats, shown

FIRST, SECOND = ".lora_A.weight", ".lora_B.weight"


def save_update(
    tensors: Mapping[str, Tensor],
    rank: int,
    alpha: int,
    folder: str | Path,
    notes: Mapping[str, object] | None = None,
) -> None:
    """Write updates as a folder, completely or not at all.

    Args:
        notes: JSON files to write into the folder: name -> content.

    Raises:
        InputError: a tensor holds NaN or infinite values; nothing is written.
    """
    broken = first_not_finite(tensors.items())
    if broken is not None:
        raise InputError(f"{folder}: was not written, because {broken} holds NaN or infinite values")
    parts = sorted({name.partition(".")[0] for name in tensors})
    settings = {f"{part}.{key}": value for part in parts for key, value in (("r", rank), ("lora_alpha", alpha))}
    with written_whole(folder) as beside:
        beside.mkdir()
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
            beside / LORA_WEIGHT_NAME_SAFE,
            metadata={"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(settings, indent=2, sort_keys=True)},
        )
        for name, content in (notes or {}).items():
            write_json(beside / name, content)


def update_file(source: str | Path) -> Path:
    """The file of updates that ``source``, a folder or the file itself, names.

    Raises:
        InputError: there is no such folder or file, or the folder holds no updates.
    """
    path = Path(source)
    if not path.exists():
        raise InputError(
            f"lora={path}: does not exist; use a folder that train.trainable=lora wrote, <output>/model_lora"
        )
    if not path.is_dir():
        return path
    if not holds_updates(path):
        found = next(filter(holds_updates, (path / "model_lora", path / "best_lora")), None)
        remedy = f"use lora={found}" if found else "use a folder that train.trainable=lora wrote, <output>/model_lora"
        raise InputError(f"lora={path}: holds no {LORA_WEIGHT_NAME_SAFE}; {remedy}")
    return path / LORA_WEIGHT_NAME_SAFE


def holds_updates(folder: Path) -> bool:
    """Whether a folder holds a file of updates."""
    return (folder / LORA_WEIGHT_NAME_SAFE).exists()


@torch.no_grad()
def merge_update(pipeline: TryOnPipeline, source: str | Path, weight: float = 1.0) -> None:
    """Add ``weight`` · α/r · B·A to the weight of each layer in a file of updates.

    Args:
        source: the folder that training wrote, or the file in it.

    Raises:
        InputError: the file is missing or damaged, or does not fit the network; the pipeline is unchanged.
    """
    path = update_file(source)
    tensors = read_safetensors(path)
    require_floats(path, tensors)
    settings = _settings(path)
    broken = first_not_finite(tensors.items())
    if broken is not None:
        raise InputError(f"{path}: {shown(broken)} holds values that are NaN or infinite; use other weights")
    names = {name.removesuffix(FIRST).removesuffix(SECOND) for name in tensors}
    if not names or {name + end for name in names for end in (FIRST, SECOND)} != tensors.keys():
        raise InputError(f"{path}: does not hold pairs of tensors …{FIRST} and …{SECOND} for each layer")
    layers: dict[str, nn.Linear] = {}
    for name in sorted(names):
        layer = _layer(pipeline, name)
        first, second = tensors[name + FIRST], tensors[name + SECOND]
        if not isinstance(layer, nn.Linear):
            raise InputError(f"{path}: {shown(name)} is not a linear layer of this network; use the weights it adapts")
        rank, size = first.shape[0] if first.dim() else 0, layer.weight.shape
        if not rank or first.shape != (rank, size[1]) or second.shape != (size[0], rank):
            raise InputError(
                f"{path}: {shown(name)} has the shapes {list(first.shape)} and {list(second.shape)}, which do not fit "
                f"the layer's {list(size)}; use the weights it adapts"
            )
        layers[name] = layer
    for name, layer in layers.items():
        first, second = tensors[name + FIRST].float(), tensors[name + SECOND].float()
        scale = weight * settings.get(f"{name.partition('.')[0]}.lora_alpha", len(first)) / len(first)
        change = (scale * second @ first).to(layer.weight.device)
        layer.weight.copy_(layer.weight.float() + change)


def _settings(path: Path) -> dict[str, Any]:
    """Rank and α of each part; empty if the file does not state them.

    Raises:
        InputError: they are malformed.
    """
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(LORA_ADAPTER_METADATA_KEY, "{}")
    try:
        settings = json_value(text)
        alphas = {name: float(value) for name, value in settings.items() if name.endswith(".lora_alpha")}
        if not all(map(math.isfinite, alphas.values())):  # from 1e999, or a text such as "inf"
            raise ValueError("α is NaN or infinite")
        return alphas
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: its header {LORA_ADAPTER_METADATA_KEY} is malformed; copy the file again") from error


def _layer(pipeline: TryOnPipeline, name: str) -> nn.Module | None:
    """The module ``<part>.<layer>`` of a pipeline, or None."""
    part, _, layer = name.partition(".")
    module = pipeline.components.get(part)
    return dict(module.named_modules()).get(layer) if isinstance(module, nn.Module) else None
