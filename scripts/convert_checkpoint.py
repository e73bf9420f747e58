"""Convert checkpoints: python scripts/convert_checkpoint.py input=model.ckpt output=folder"""

from siftvton import cli
from siftvton.config import ConvertCheckpoint


def main(config: ConvertCheckpoint) -> None:
    from siftvton.conversion import convert  # after the command line is checked: it takes seconds to import

    convert(config)


if __name__ == "__main__":
    cli.run(main, ConvertCheckpoint, default="vitonhd.yaml")
