"""Train a small autoencoder for the toy model: python scripts/train_autoencoder.py key=value …"""

from siftvton import cli
from siftvton.config import TrainAutoencoder


def main(config: TrainAutoencoder) -> None:
    from siftvton.training.autoencoder import train_autoencoder  # after the command line is checked

    train_autoencoder(config)


if __name__ == "__main__":
    cli.run(main, TrainAutoencoder, default="toy.yaml")
