"""Draw what points of a photo look at on the garment, a row a checkpoint."""

from siftvton.cli import run

if __name__ == "__main__":
    run("visualize_attention")
