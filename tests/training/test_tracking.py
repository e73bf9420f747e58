"""The name of a run in a tracker."""

import inspect

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, MLflowTracker
from runs import run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from siftvton.training.config import OptimisationConfig
from siftvton.training.tracking import ARGUMENTS, BY_PROJECT, tracker_arguments


@pytest.mark.parametrize(
    ("tracker", "name", "project", "given"),
    [
        ("wandb", "mine", "siftvton", {"dir": "out", "name": "mine"}),
        ("wandb", None, "siftvton", {"dir": "out"}),
        ("mlflow", "mine", "siftvton", {"run_name": "mine"}),
        ("tensorboard", "mine", "siftvton/mine", {}),
        ("tensorboard", None, "siftvton", {}),
    ],
)
def test_each_tracker_gets_the_name_in_its_own_way(tracker, name, project, given):
    found, arguments = tracker_arguments(OptimisationConfig(tracker=tracker, run_name=name), "out")
    assert (found, arguments.get(tracker, {})) == (project, given)


def test_accelerate_knows_the_trackers():
    assert {*ARGUMENTS, *BY_PROJECT} <= LOGGER_TYPE_TO_CLASS.keys()
    assert ARGUMENTS["mlflow"] in inspect.signature(MLflowTracker).parameters


def test_tensorboard_shows_a_named_run(configuration):
    output = run(configuration(updates=1, tracker="tensorboard", run_name="first try"))
    events = EventAccumulator(str(output / "siftvton" / "first try")).Reload()
    assert "loss" in events.Tags()["scalars"]
