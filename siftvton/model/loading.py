"""One ``load`` for everything that can be loaded: a saved pipeline's folder, or a published checkpoint.

Nothing that is loaded may run code: folders are read as JSON and safetensors into classes named here, checkpoints
with an unpickler that rebuilds tensors alone.
"""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, PNDMScheduler
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPVisionModel
from transformers.utils.logging import disable_progress_bar

from siftvton.errors import InputError
from siftvton.files import sha256, write_json, written_whole
from siftvton.model import build, published
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.hub import local
from siftvton.model.image_context import ImageContext
from siftvton.model.unet import TryOnUNet
from siftvton.model.unpickling import read_tensors
from siftvton.pipeline import TryOnPipeline

PARTS: dict[str, Any] = {
    "vae": AutoencoderKL,
    "image_encoder": CLIPVisionModel,
    "image_context": ImageContext,
    "garment_encoder": GarmentEncoder,
    "unet": TryOnUNet,
}


SHARD = "2GB"  # a shard is copied in memory while it is written

disable_progress_bar()  # of the image encoder's few shards


def load(source: str | Path, dtype: torch.dtype | None = torch.float32) -> TryOnPipeline:
    """Load a pipeline.

    Args:
        source: a folder written by :func:`save`, or a published ``.ckpt`` or ``.safetensors`` file; a path, or the
            hub's, see :func:`siftvton.model.hub.local`.
        dtype: of the weights once loaded, whatever they are stored in; None: as they are stored.

    Raises:
        InputError: it is missing, damaged, of another shape, or holds more than tensors.
    """
    source = local(source)
    if source.is_dir():
        parts = {name: load_part(source / name, kind, dtype) for name, kind in PARTS.items()}
        return TryOnPipeline(**parts, scheduler=PNDMScheduler.from_config(_json(source / "scheduler", "scheduler")))
    return from_published(read_checkpoint(source), source, dtype=dtype)


def weights_digest(source: str | Path) -> str:
    """SHA-256 over a checkpoint's, or a folder's, weights: what tells two trainings under one path apart."""
    source = local(source)
    files = sorted(source.glob("*/*.safetensors")) if source.is_dir() else [source]
    return hashlib.sha256("".join(sha256(file) for file in files).encode()).hexdigest()


def load_part(folder: Path, kind: Any, dtype: torch.dtype | None = torch.float32) -> Any:
    """One part of a pipeline from its folder, strictly."""
    config = _json(folder, "config")
    try:
        dtype = dtype or _stored_dtype(folder)
        part, report = kind.from_pretrained(folder, torch_dtype=dtype, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, StopIteration, SafetensorError) as error:
        raise InputError(
            f"{folder}: not as its config.json says, or damaged ({_first_line(error)}); copy it again"
        ) from error
    wrong = {name: sorted(map(str, report[name])) for name in ("missing_keys", "unexpected_keys") if report[name]}
    if wrong:
        raise InputError(f"{folder}: weights do not fit {kind.__name__} of {len(config)} settings: {wrong}")
    return part


def save(pipeline: TryOnPipeline, folder: str | Path) -> None:
    """Write a pipeline as a folder that :func:`load` reads, whole or not at all."""
    with written_whole(folder) as beside:
        pipeline.save_pretrained(beside, max_shard_size=SHARD)
        for path in beside.glob("*/config.json"):  # without the path that a part was read from
            config = _json(path.parent, "config")
            config.pop("_name_or_path", None)
            write_json(path, config)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a published checkpoint, by name, memory-mapped where the format allows.

    Raises:
        InputError: the file is damaged, or is a pickle that would run something.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = read_tensors(path)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: refused, nothing was run: {error}") from error
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as a checkpoint ({_first_line(error)}); nothing was run") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path}: is not a dictionary of tensors, nor holds one as state_dict")
    return content


def from_published(
    tensors: dict[str, Tensor],
    source: Path,
    dtype: torch.dtype | None = torch.float32,
    make_parts: Callable[[], dict[str, Any]] | None = None,
) -> TryOnPipeline:
    """A pipeline from a published checkpoint's tensors.

    Args:
        source: where they came from, for messages.
        make_parts: the parts to fill, by default the published model's.

    Raises:
        InputError: a name or a shape does not fit.
    """
    with init_empty_weights(include_buffers=False):  # buffers that no checkpoint holds keep their values
        parts = (make_parts or build.full_parts)()
    shapes = {
        part: {name: tensor.shape for name, tensor in module.state_dict().items()} for part, module in parts.items()
    }
    sizes = {
        "blocks_per_level": parts["unet"].config.blocks_per_level,
        "vae_levels": len(parts["vae"].config.block_out_channels),
    }
    try:
        renamed = published.from_published(tensors, shapes, **sizes)
    except ValueError as error:
        raise InputError(f"{source}: not the published model: {error}") from error
    for part, module in parts.items():
        tensors = {name: tensor.to(dtype or tensor.dtype) for name, tensor in renamed[part].items()}
        module.load_state_dict(tensors, assign=True)
        module.eval()
    return TryOnPipeline(**parts, scheduler=build.scheduler())


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{'scheduler_config' if name == 'scheduler' else name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; wanted is a folder that save_pretrained wrote") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not JSON ({error})") from error


def _stored_dtype(folder: Path) -> torch.dtype:
    path = next(folder.glob("*.safetensors"))
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(next(iter(file.keys()))).dtype


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].partition(". ")[0]  # without the library's advice on its own keys
