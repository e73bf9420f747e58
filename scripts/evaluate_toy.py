"""Score try-on results of the toy world against the exact rendering: prints, colours, the rest of the photo."""

from siftvton import cli
from siftvton.config import EvaluateToy


def main(config: EvaluateToy) -> None:
    from siftvton.evaluation.toy import evaluate_toy  # after the command line is checked: it takes seconds to import

    print(evaluate_toy(config), end="")


if __name__ == "__main__":
    cli.run(main, EvaluateToy, default="toy.yaml")
