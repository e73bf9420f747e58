"""Convert checkpoints: ``python scripts/convert_checkpoint.py input=model.ckpt output=folder``"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from siftvton.commands import Command
from siftvton.errors import UsageError
from siftvton.locks import only_writer
from siftvton.options import option


@dataclass
class ConvertCheckpoint:
    """Turn a published checkpoint into a folder of safetensors, or weights back into the published form."""

    input: str = option(
        "checkpoints/sift-vton/model.ckpt", "what to convert; anything that infer.py can load", path=True
    )
    output: str = option(
        "checkpoints/sift-vton/model", "a folder, or for `published` a .ckpt or .safetensors file", path=True
    )
    to: str = option("diffusers", "the form to write", choices=("diffusers", "published"))
    like: str | None = option(
        None,
        "for `published`: a published checkpoint to take the names from, and the tensors that are not ours",
        path=True,
    )


def convert_checkpoint(config: ConvertCheckpoint) -> str:
    """Write ``config.output``.

    Raises:
        UsageError: the output exists, or its name or ``like`` does not fit the form.
        InputError: what is to be read cannot be, or does not fit.
    """
    from siftvton.model.hub import local
    from siftvton.sampling.conversion import disk_errors, write_published
    from siftvton.sampling.loading import load, save

    output = Path(config.output)
    if output.exists():
        raise UsageError(f"output={output}: exists; name another, or delete it")
    if config.to == "published":
        if output.suffix not in (".ckpt", ".safetensors"):
            raise UsageError(f"output={output}: a name that ends in .ckpt or .safetensors is required")
        if config.like is None:
            raise UsageError(
                "like=null: to=published also requires like=<a published checkpoint>, e.g. the one that training "
                "started from"
            )
        write_published(load(config.input, None), local(config.like), output)
    else:
        pipeline = load(config.input, None)
        with disk_errors(output):
            save(pipeline, output)
    return f"{output}: written"


def lock(output: Path) -> AbstractContextManager[None]:
    """Beside the output, which may be a file and must not exist."""
    return only_writer(output.parent, f".{output.name}.lock")


COMMAND = Command(ConvertCheckpoint, convert_checkpoint, "vitonhd.yaml", lock=lock)
