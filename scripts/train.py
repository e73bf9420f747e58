"""Train or fine-tune the try-on network: python scripts/train.py --config configs/vitonhd.yaml key=value …"""

from siftvton.cli import run

if __name__ == "__main__":
    run("train")
