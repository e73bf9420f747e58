"""A pipeline written under a published checkpoint's names, whole or not at all, each tensor in its own precision."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from siftvton.errors import InputError, first_line
from siftvton.files import written_whole
from siftvton.model.published import is_dropped, to_published
from siftvton.sampling.loading import read_checkpoint
from siftvton.sampling.pipeline import TryOnPipeline


@contextmanager
def disk_errors(output: Path) -> Iterator[None]:
    """One line for a full disk, or a file that may not be so large."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:  # the file's own, safetensors' and PyTorch's
        raise InputError(
            f"{output}: cannot be written ({first_line(error)}); nothing is left of it; check the free space there"
        ) from error


def write_published(pipeline: TryOnPipeline, like: Path, output: Path) -> None:
    """Write a pipeline under the names of the checkpoint ``like``, which gives what no part of ours holds.

    Raises:
        InputError: the two are not of the same shapes.
    """
    original = read_checkpoint(like)
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    sizes = {
        "blocks_per_level": pipeline.unet.config.blocks_per_level,
        "vae_levels": len(pipeline.vae.config.block_out_channels),
    }
    try:
        tensors = to_published({name: part.state_dict() for name, part in parts.items()}, original, **sizes)
    except (ValueError, RuntimeError, LookupError, TypeError) as error:
        raise InputError(f"{like}: not of the same model: {first_line(error)}") from error
    kept = sum(is_dropped(name) for name in tensors)
    print(f"{kept} of {len(tensors)} tensors are not part of this model and are copied from {like}")
    with disk_errors(output), written_whole(output) as beside:
        if output.suffix == ".safetensors":
            save_file(_apart(tensors), beside)
        else:
            torch.save({"state_dict": tensors}, beside)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as safetensors requires them: contiguous, none in another's memory."""
    apart, seen = {}, set()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if memory in seen else tensor
        apart[name] = apart[name].contiguous()
        seen.add(memory)
    return apart
