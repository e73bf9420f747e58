"""Train and measure the arms of an experiment on the toy world; one table."""

from siftvton.commands import Command
from siftvton.experiment.config import Experiment


def experiment(config: Experiment) -> str:
    from siftvton.experiment import arms

    return arms.experiment(config)


COMMAND = Command(Experiment, experiment, "experiment.yaml")
