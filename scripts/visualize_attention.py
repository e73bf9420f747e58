"""Draw where points of a photo look on the garment, one row for each checkpoint."""

from siftvton.cli import run

if __name__ == "__main__":
    run("visualize_attention")
