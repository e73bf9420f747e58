"""Try garments on persons: python scripts/infer.py --config configs/vitonhd.yaml key=value …"""

from siftvton.cli import run

if __name__ == "__main__":
    run("infer")
