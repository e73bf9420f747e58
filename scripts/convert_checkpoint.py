"""Convert checkpoints: python scripts/convert_checkpoint.py input=model.ckpt output=folder"""

from siftvton.cli import run

if __name__ == "__main__":
    run("convert_checkpoint")
