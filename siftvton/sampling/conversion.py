"""Write a pipeline under the names of a published checkpoint, completely or not at all, without changing precision."""

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
    """Turn the errors of a full disk or of a limit on file sizes into one line.

    Raises:
        InputError: ``output`` cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:  # raised by Python, safetensors and PyTorch
        raise InputError(
            f"{output}: cannot be written ({first_line(error)}); no partial file is left; check the free space there"
        ) from error


def write_published(pipeline: TryOnPipeline, like: Path, output: Path) -> None:
    """Write a pipeline under the names of a published checkpoint.

    Args:
        like: the published checkpoint; it also provides the tensors that are not part of our model.

    Raises:
        InputError: the names or shapes of the two do not match, or ``output`` cannot be written.
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
        raise InputError(
            f"{like}: does not match the model ({first_line(error)}); use the checkpoint that training started from"
        ) from error
    kept = sum(is_dropped(name) for name in tensors)
    print(f"{kept} of {len(tensors)} tensors are not part of this model and are copied from {like}")
    with disk_errors(output), written_whole(output) as beside:
        if output.suffix == ".safetensors":
            save_file(_apart(tensors), beside)
        else:
            torch.save({"state_dict": tensors}, beside)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as safetensors requires them: contiguous and without shared memory."""
    apart, seen = {}, set()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if memory in seen else tensor
        apart[name] = apart[name].contiguous()
        seen.add(memory)
    return apart
