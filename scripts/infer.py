"""Try garments on persons: python scripts/infer.py --config configs/vitonhd.yaml key=value …"""

from siftvton import cli
from siftvton.config import Infer


def main(config: Infer) -> None:
    from siftvton.inference import infer  # after the command line is checked: it takes seconds to import

    infer(config)


if __name__ == "__main__":
    cli.run(main, Infer, default="vitonhd.yaml")
