"""Convert checkpoints: ``python scripts/convert_checkpoint.py input=model.ckpt output=folder``"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from siftvton.commands import Command
from siftvton.errors import UsageError
from siftvton.locks import only_writer
from siftvton.options import option
from siftvton.sampling.config import WeightChanges


@dataclass
class ConvertCheckpoint(WeightChanges):
    """Convert a published checkpoint to a folder of safetensors, or weights back to the published form."""

    input: str = option(
        "checkpoints/sift-vton/model.ckpt",
        "weights to convert: a saved pipeline's folder, a published .ckpt or .safetensors file, or a Hugging Face "
        "repository",
        path=True,
    )
    output: str = option(
        "checkpoints/sift-vton/model",
        "folder to write if to=diffusers; .ckpt or .safetensors file to write if to=published",
        path=True,
    )
    to: str = option(
        "diffusers",
        "form to write; diffusers: safetensors that diffusers can load; published: one file in the published form",
        choices=("diffusers", "published"),
    )
    like: str | None = option(
        None,
        "published .ckpt or .safetensors file that gives the tensor names, and the tensors that are not part of this "
        "model; required if to=published, else unused",
        path=True,
    )


def convert_checkpoint(config: ConvertCheckpoint) -> str:
    """Convert ``config.input`` and write it to ``config.output``.

    Raises:
        UsageError: the output exists, or its name or ``like`` does not fit the form.
        InputError: ``input`` or ``like`` cannot be read, or they are not of the same model.
    """
    from siftvton.hub import local
    from siftvton.sampling.changes import load_changed
    from siftvton.sampling.conversion import disk_errors, write_published
    from siftvton.sampling.loading import save

    output = Path(config.output)
    if output.exists():
        raise UsageError(f"output={output} already exists; name another output, or delete it")
    if config.to == "published":
        if output.suffix not in (".ckpt", ".safetensors"):
            raise UsageError(
                f"output={output} is not allowed for to=published; use a name that ends in .ckpt or .safetensors"
            )
        if config.like is None:
            raise UsageError(
                "like=null is not allowed for to=published; use like=<published checkpoint>, e.g. the one that "
                "training started from"
            )
        write_published(load_changed(config.input, None, config), local(config.like), output)
    else:
        pipeline = load_changed(config.input, None, config)
        with disk_errors(output):
            save(pipeline, output)
    return f"{output}: written"


def lock(output: Path) -> AbstractContextManager[None]:
    """Lock the output with a file beside it, since the output may be a file and must not exist yet."""
    return only_writer(output.parent, f".{output.name}.lock")


COMMAND = Command(ConvertCheckpoint, convert_checkpoint, "vitonhd.yaml", lock=lock)
