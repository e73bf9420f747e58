"""Draw what points of a photo look at on the garment, a row a checkpoint."""

from siftvton import cli
from siftvton.config import VisualizeAttention


def main(config: VisualizeAttention) -> None:
    from siftvton.evaluation.figures import visualize_attention  # after the command line is checked

    print(visualize_attention(config))


if __name__ == "__main__":
    cli.run(main, VisualizeAttention, default="vitonhd.yaml")
