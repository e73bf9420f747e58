"""Train variants ("arms") over several seeds, measure all in the same way and write one table (toy world)."""

from siftvton.commands import Command
from siftvton.experiment.config import Experiment


def experiment(config: Experiment) -> str:
    from siftvton.experiment import arms

    return arms.experiment(config)


COMMAND = Command(Experiment, experiment, "experiment.yaml")
