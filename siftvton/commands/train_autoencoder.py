"""Train a small autoencoder for the toy model: ``python scripts/train_autoencoder.py key=value …``"""

from siftvton.commands import Command
from siftvton.training.config import TrainAutoencoder


def train_autoencoder(config: TrainAutoencoder) -> None:
    from siftvton.pool import ended_by_sigterm

    with ended_by_sigterm():  # until the training itself saves and stops at this signal
        from siftvton.training import autoencoder

        autoencoder.train_autoencoder(config)


COMMAND = Command(TrainAutoencoder, train_autoencoder, "toy.yaml")
