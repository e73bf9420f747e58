"""Load a pipeline from a saved folder or from a published checkpoint, with one function for both.

No file that is loaded can run code: folders are read as JSON and safetensors into the classes named here, and
checkpoints are read with an unpickler that rebuilds only tensors.
"""

import copy
import hashlib
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, AutoencoderTiny, ModelMixin, PNDMScheduler
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.utils.logging import disable_progress_bar

from siftvton.data.layouts import CATEGORIES
from siftvton.errors import InputError, first_line
from siftvton.files import sha256, write_json, written_whole
from siftvton.finite import first_not_finite
from siftvton.hub import local
from siftvton.model import build, published
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.image_context import ImageContext
from siftvton.model.inputs import Autoencoder
from siftvton.model.settings import NETWORK, read_settings
from siftvton.model.unet import TryOnUNet
from siftvton.model.unpickling import read_tensors
from siftvton.sampling.lora import holds_updates
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.weight_files import (
    SAFETENSORS,
    only_variant,
    read_json,
    read_safetensors,
    read_sharded,
    require_floats,
    require_regular,
    shown,
)

PARTS: dict[str, Any] = {
    "vae": AutoencoderKL,  # or another of AUTOENCODERS
    "image_encoder": CLIPVisionModel,
    "image_context": ImageContext,
    "garment_encoder": GarmentEncoder,
    "unet": TryOnUNet,
}
AUTOENCODERS = {kind.__name__: kind for kind in (AutoencoderKL, AutoencoderTiny)}
# Settings that must agree: a part, its setting, another part, its setting.
AGREEMENTS = (
    *(("garment_encoder", key, "unet", key) for key in NETWORK),
    ("image_context", "context_width", "unet", "context_width"),
    ("image_context", "width", "image_encoder", "hidden_size"),
    ("vae", "latent_channels", "unet", "latent_channels"),
)

disable_progress_bar()  # the image encoder has only a few shards

SHARD = "2GB"  # writing a shard makes a copy of it in memory
VARIANTS = {torch.float16: "fp16", torch.bfloat16: "bf16"}  # in the file names of diffusers and transformers


def load(source: str | Path, dtype: torch.dtype | None = torch.float32) -> TryOnPipeline:
    """Load a pipeline.

    Args:
        source: a folder written by :func:`save`, or a published ``.ckpt`` or ``.safetensors`` file; either a path or a
            name on the hub, see :func:`siftvton.hub.local`.
        dtype: converts the weights to this data type; None: keeps the stored one.

    Raises:
        InputError: the source is missing or damaged, has other shapes, or holds NaN or infinite values; or its parts
            do not fit each other.
    """
    source = local(source)
    if not source.is_dir():
        return from_published(read_checkpoint(source), source, dtype=dtype)
    _require_parts(source)
    schedule = read_settings(source / "scheduler" / "scheduler_config.json", PNDMScheduler)
    parts = {name: load_part(source / name, kind, dtype) for name, kind in PARTS.items() if name != "vae"}
    parts["vae"] = load_autoencoder_part(source / "vae", dtype)
    for part, setting, other, its in AGREEMENTS:
        first, second = (getattr(parts[name].config, key) for name, key in ((part, setting), (other, its)))
        if first != second:
            raise InputError(f"{source}: {part} has {setting}={first}, but {other} has {its}={second}; they must agree")
    return TryOnPipeline(**parts, scheduler=PNDMScheduler(**schedule))


def upper_body_note(source: str | Path, categories: Iterable[str]) -> str | None:
    """Return one line if published weights meet categories of garments that they do not know, else None.

    StableVITON's and SIFT-VTON's weights were trained on VITON-HD, which has upper bodies only.

    Args:
        source: as for :func:`load`; published weights are in one file, our own in a folder.
        categories: the categories of the garments.
    """
    others = [category for category in dict.fromkeys(categories) if category != CATEGORIES[0]]
    if not others or local(source).is_dir():
        return None
    return f"note: {source}: these weights know upper bodies only; they have to learn {' and '.join(others)} first"


def _require_parts(folder: Path) -> None:
    """Check that a folder holds a saved pipeline.

    Raises:
        InputError: it is another folder, such as the output of a training or a single part.
    """
    names = ("scheduler", *PARTS)
    missing = [name for name in names if not (folder / name).is_dir()]
    if missing:
        near = (folder / "model", folder.parent, folder.parent.parent / "model")
        found = next((each for each in near if all((each / name).is_dir() for name in names)), None)
        updates = next(filter(holds_updates, (folder, folder / "model_lora")), None)
        remedy = f"use {found}" if found else f"use a folder that holds {', '.join(names)}"
        if updates and not found:
            remedy = (
                f"it holds updates, so use lora={updates} with the checkpoint that they adapt, or merge both by "
                "scripts/convert_checkpoint.py"
            )
        raise InputError(f"{folder}: is not a saved pipeline, because it has no folder {missing[0]}; {remedy}")


def weights_digest(source: str | Path) -> str:
    """SHA-256 of the weights in a checkpoint or folder; it distinguishes two trainings under the same path."""
    source = local(source)
    files = sorted(source.glob(f"*/*{SAFETENSORS}")) if source.is_dir() else [source]
    return hashlib.sha256("".join(sha256(require_regular(file)) for file in files).encode()).hexdigest()


def load_part(folder: Path, kind: Any, dtype: torch.dtype | None = torch.float32) -> Any:
    """Load one part of a pipeline strictly, from ``config.json`` and safetensors alone.

    The weights are read under their plain file name or, if there is none, under that of the only variant, such as
    ``diffusion_pytorch_model.fp16.safetensors``.

    Args:
        kind: a class of :data:`PARTS`.
        dtype: converts the weights to this data type; None: keeps the stored one.

    Raises:
        InputError: a file is missing or damaged, a name or shape does not fit, or a value is NaN or infinite.
    """
    settings = read_settings(folder / "config.json", kind)
    name = ("diffusion_pytorch_model" if issubclass(kind, ModelMixin) else "model") + SAFETENSORS
    stored = {}
    for stored_name, tensor in read_sharded(folder, name, only_variant(folder, name)).items():
        known = _current_name(kind, stored_name)
        if known in stored:
            raise InputError(
                f"{folder}: the weights hold {shown(known)} twice, under an old and a new name; copy the folder again"
            )
        stored[known] = tensor
    stored.pop("embeddings.position_ids", None)  # 0, 1, 2, …, written by old versions of transformers
    with torch.device("meta"):  # takes no memory at any size
        expected = _make(kind, settings).state_dict()
    ours = {_current_name(kind, name): (name, tensor.shape) for name, tensor in expected.items()}
    problems = {
        "missing": [name for name in ours if name not in stored],
        "unexpected": [name for name in stored if name not in ours],
        "of another shape": [
            f"{name} {list(stored[name].shape)}, expected {list(shape)}"
            for name, (_, shape) in ours.items()
            if name in stored and stored[name].shape != shape
        ],
    }
    if any(problems.values()):
        raise InputError(f"{folder}: the weights do not fit config.json: {published.listed(problems)}")
    with init_empty_weights(include_buffers=False):  # buffers that are in no file keep their values
        part = _make(kind, settings)
    fill(part, {name: stored[known] for known, (name, _) in ours.items()}, folder, dtype)
    return part


def load_autoencoder_part(folder: Path, dtype: torch.dtype | None = torch.float32) -> Autoencoder:
    """Load an autoencoder as :func:`load_part`; its ``config.json`` names the class."""
    content = read_json(folder / "config.json")
    named = content.get("_class_name") if isinstance(content, dict) else None
    kind = AUTOENCODERS.get(named, AutoencoderKL) if isinstance(named, str) else AutoencoderKL
    return load_part(folder, kind, dtype)


def _make(kind: Any, settings: dict[str, Any]) -> nn.Module:
    return kind(CLIPVisionConfig(**settings)) if kind is CLIPVisionModel else kind(**settings)


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _current_name(kind: Any, name: str) -> str:
    """A parameter's name without the differences between library versions."""
    if kind is CLIPVisionModel:
        return name.removeprefix("vision_model.")  # transformers 4 writes the prefix, transformers 5 does not
    if kind is AutoencoderKL:  # diffusers before 0.15
        for old, new in (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")):
            name = re.sub(rf"(\.attentions\.\d+)\.{old}\.", rf"\1.{new}.", name)
    return name


def fill(part: nn.Module, tensors: Mapping[str, Tensor], source: Path, dtype: torch.dtype | None) -> None:
    """Give an empty part its weights, converted to ``dtype``, and set it to evaluation mode.

    Raises:
        InputError: a tensor holds whole numbers, or values that are NaN or infinite after the conversion.
    """
    require_floats(source, tensors)
    cast = {name: tensor.to(dtype or tensor.dtype) for name, tensor in tensors.items()}
    broken = first_not_finite(cast.items())
    if broken is not None:
        kind = _kind(cast[broken].dtype)
        raise InputError(
            f"{source}: {shown(broken)} holds values that are NaN or infinite in {kind}; use other weights"
        )
    part.load_state_dict(cast, assign=True)
    part.eval()


def save(
    pipeline: TryOnPipeline,
    folder: str | Path,
    dtype: torch.dtype | None = None,
    variant: bool = False,
    notes: Mapping[str, object] | None = None,
) -> None:
    """Write a pipeline as a folder that :func:`load` reads, completely or not at all.

    Args:
        dtype: data type of the weights in the files; None: that of the pipeline.
        variant: use the file names of ``VARIANTS[dtype]``, so that a folder can hold the weights in several data types.
        notes: JSON files to write into the folder: name -> content.

    Raises:
        InputError: a weight is NaN or infinite, or too large for ``dtype``; nothing is written.
    """
    parts = {name: getattr(pipeline, name) for name in PARTS}
    where = ""
    if dtype is not None:
        parts = {name: _converted(part, dtype) for name, part in parts.items()}
        where = f" in {_kind(dtype)}; use bfloat16 or float32"
    for name, part in parts.items():
        broken = first_not_finite(part.state_dict().items())
        if broken is not None:
            raise InputError(f"{folder}: was not written, because {name}.{broken} holds NaN or infinite values{where}")
    written = TryOnPipeline(**parts, scheduler=pipeline.scheduler)
    with written_whole(folder) as beside:
        named = VARIANTS[dtype] if variant and dtype is not None else None
        written.save_pretrained(beside, max_shard_size=SHARD, variant=named)
        for path in beside.glob("*/config.json"):  # remove the path from which a part was read
            config = read_json(path)
            config.pop("_name_or_path", None)
            write_json(path, config)
        for name, content in (notes or {}).items():
            write_json(beside / name, content)


def _converted(part: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a part with its weights in ``dtype``; the part itself if it has this data type."""
    if all(parameter.dtype == dtype for parameter in part.parameters()):
        return part
    changed: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
        for parameter in part.parameters()
    }
    return copy.deepcopy(part, changed)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a published checkpoint by name, memory-mapped where the format allows it.

    Raises:
        InputError: the file is damaged, or is a pickle that would run code.
    """
    if _is_safetensors(require_regular(path)):
        return read_safetensors(path)
    try:
        content = read_tensors(path)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused ({shown(error)}); nothing was run; use a checkpoint from a source that you trust"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as a checkpoint ({shown(first_line(error))}); nothing was run"
        ) from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict):
        raise InputError(f"{path}: does not hold a dictionary of tensors, neither directly nor under state_dict")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise InputError(
                f"{path}: does not hold a dictionary of tensors, neither directly nor under state_dict: {shown(name)} "
                "is not a plain tensor"
            )
    return content


def _is_safetensors(path: Path) -> bool:
    """Whether to read a file as safetensors; the content decides, or the name if the content is not clear."""
    with path.open("rb") as file:
        start = file.read(9)  # a length of eight bytes, then JSON; PyTorch's files are zip archives
    return not start.startswith(b"PK") and (start.endswith(b"{") or path.suffix == SAFETENSORS)


def from_published(
    tensors: dict[str, Tensor],
    source: Path,
    dtype: torch.dtype | None = torch.float32,
    make_parts: Callable[[], dict[str, Any]] | None = None,
) -> TryOnPipeline:
    """Make a pipeline from the tensors of a published checkpoint.

    Args:
        source: the file that they come from, for messages.
        make_parts: returns the parts to fill; default: the parts of the published model.

    Raises:
        InputError: a name or a shape does not fit, or a value is NaN or infinite.
    """
    with init_empty_weights(include_buffers=False):  # buffers that are in no checkpoint keep their values
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
        raise InputError(f"{source}: does not fit the published model: {error}") from error
    for part, module in parts.items():
        fill(module, renamed[part], source, dtype)
    return TryOnPipeline(**parts, scheduler=build.scheduler())
