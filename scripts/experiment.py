"""Train and measure the arms of an experiment on the toy world; one table."""

from siftvton import cli
from siftvton.config import Experiment


def main(config: Experiment) -> None:
    from siftvton.experiment.arms import experiment  # after the command line is checked

    experiment(config)


if __name__ == "__main__":
    cli.run(main, Experiment, default="experiment.yaml")
