"""Draw matches and the reference attention that they give."""

from siftvton import cli
from siftvton.config import VisualizeReference


def main(config: VisualizeReference) -> None:
    from siftvton.evaluation.figures import visualize_reference  # after the command line is checked

    print(visualize_reference(config))


if __name__ == "__main__":
    cli.run(main, VisualizeReference, default="vitonhd.yaml")
