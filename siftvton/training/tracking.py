"""The name of a run in the trackers that accelerate knows."""

import re
from typing import Any

from siftvton.errors import UsageError
from siftvton.training.config import OptimisationConfig

PROJECT = "siftvton"
ARGUMENTS = {  # the argument of each tracker's own start function that names a run inside a project
    "clearml": "task_name",
    "mlflow": "run_name",
    "swanlab": "experiment_name",
    "trackio": "name",
    "wandb": "name",
}
BY_PROJECT = ("aim", "tensorboard")  # accelerate uses the project's name as the name of the run
_NAME = re.compile(r"\w[\w.+ -]*")  # it may become a folder inside the output


def tracker_arguments(settings: OptimisationConfig, output: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The arguments of ``Accelerator.init_trackers``: the project, and arguments for single trackers."""
    project, named = PROJECT, settings.run_name
    arguments: dict[str, dict[str, Any]] = {"wandb": {"dir": output}}
    if named and settings.tracker in BY_PROJECT:
        project = f"{PROJECT}/{named}"
    elif named and settings.tracker:
        arguments.setdefault(settings.tracker, {})[ARGUMENTS[settings.tracker]] = named
    return project, arguments


def require_run_name(settings: OptimisationConfig) -> None:
    """Check that the tracker can use the name of the run.

    Raises:
        UsageError: there is no tracker, it has no names for runs, or the name is not allowed.
    """
    name, tracker = settings.run_name, settings.tracker
    if name is None:
        return
    if tracker is None:
        raise UsageError(
            f"train.run_name={name} is not allowed with train.tracker=null, because only a tracker uses it; set "
            "train.tracker, or train.run_name=null"
        )
    known = sorted({*ARGUMENTS, *BY_PROJECT})
    if tracker not in known:
        raise UsageError(
            f"train.run_name={name} is not allowed with train.tracker={tracker}; set train.run_name=null, or use one "
            f"of the trackers {', '.join(known)}"
        )
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"train.run_name={name!r} is not allowed; use letters, digits, spaces and the characters . _ + -, with a "
            "letter or digit first"
        )
