"""Train a small autoencoder for the toy model: python scripts/train_autoencoder.py key=value …"""

from siftvton.cli import run

if __name__ == "__main__":
    run("train_autoencoder")
