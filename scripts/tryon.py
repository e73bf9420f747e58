"""Try one garment on one person: python scripts/tryon.py person=photo.jpg garment=garment.jpg key=value …"""

from siftvton.cli import run

if __name__ == "__main__":
    run("tryon")
