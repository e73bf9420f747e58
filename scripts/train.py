"""Train or fine-tune the try-on network: python scripts/train.py --config configs/vitonhd.yaml key=value …"""

from siftvton import cli
from siftvton.config import Train


def main(config: Train) -> None:
    from siftvton.training.loop import train  # after the command line is checked: it takes seconds to import

    train(config)


def summary(config: Train) -> str:
    from siftvton.training.arithmetic import arithmetic

    return arithmetic(config)


if __name__ == "__main__":
    cli.run(main, Train, default="vitonhd.yaml", summary=summary)
