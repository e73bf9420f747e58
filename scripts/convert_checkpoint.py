"""Convert checkpoints: python scripts/convert_checkpoint.py input=model.ckpt output=folder"""

from contextlib import AbstractContextManager
from pathlib import Path

from siftvton import cli
from siftvton.config import ConvertCheckpoint
from siftvton.locks import only_writer


def main(config: ConvertCheckpoint) -> None:
    from siftvton.conversion import convert  # after the command line is checked: it takes seconds to import

    convert(config)


def lock(output: Path) -> AbstractContextManager[None]:
    """Beside the output, which may be a file and must not exist."""
    return only_writer(output.parent, f".{output.name}.lock")


if __name__ == "__main__":
    cli.run(main, ConvertCheckpoint, default="vitonhd.yaml", lock=lock)
