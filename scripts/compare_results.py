"""Put several methods' results side by side, the torso enlarged below."""

from siftvton import cli
from siftvton.config import CompareResults


def main(config: CompareResults) -> None:
    from siftvton.evaluation.figures import compare_results  # after the command line is checked

    print(compare_results(config))


if __name__ == "__main__":
    cli.run(main, CompareResults, default="vitonhd.yaml")
