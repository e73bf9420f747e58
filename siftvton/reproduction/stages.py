"""The stages of a reproduction: which command runs with which keys, and which stages are finished."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siftvton.data.config import Data
from siftvton.errors import InputError, UsageError
from siftvton.files import is_file, read_json, write_json
from siftvton.key_values import escaped
from siftvton.options import as_typed
from siftvton.reproduction.config import Reproduce

NAME = "ours"  # of the results in evaluate.py's reports
SETTINGS = ("paired", "unpaired")
RECORD = "stages.json"  # file in the output folder: the finished stages
COMMANDS = ("check_data", "preprocess_sift", "train", "infer", "evaluate")


@dataclass(frozen=True)
class Stage:
    """One command of the reproduction.

    Attributes:
        name: names the stage in the record.
        command: the command's name.
        keys: ``key=value`` texts.
        folder: where it writes.
    """

    name: str
    command: str
    keys: list[str]
    folder: Path

    def line(self, settings: str) -> str:
        """The command line that does the same."""
        return shlex.join(["python", f"scripts/{self.command}.py", "--config", settings, *self.keys])


def check_stage(config: Reproduce) -> Stage:
    """The stage that checks the test data."""
    return _stage(config, "check", "check_data", Path(config.output) / "check", ["data.split=test"])


def training_stages(config: Reproduce, start: str) -> list[Stage]:
    """The stages that find the matches, unless they are given, check the training data, and train.

    Args:
        start: the weights to fine-tune.
    """
    output, stages = Path(config.output), []
    matches = Path(config.matches) if config.matches else output / "matches"
    if config.matches is None:
        stages.append(_stage(config, "match", "preprocess_sift", matches, ["data.split=train"]))
    known = f"data.matches={escaped(str(matches))}"
    folder = output / "check_training"
    stages.append(_stage(config, "check_training", "check_data", folder, ["data.split=train", known]))
    keys = [known, f"model.pretrained={escaped(start)}", f"train.seed={config.seed}"]
    keys += [] if config.limit is None else [f"train.updates={config.limit}"]
    stages.append(_stage(config, "train", "train", output / "train", keys))
    return stages


def scoring_stages(config: Reproduce, checkpoint: str, sampling: Sequence[str]) -> list[Stage]:
    """The stages that sample and score both settings.

    Args:
        checkpoint: the weights to sample with.
        sampling: further keys of infer.py.
    """
    output, stages = Path(config.output), []
    shared = ["data.split=test", f"limit={as_typed(config.limit)}", f"seed={config.seed}"]
    for setting in SETTINGS:
        keys = [*shared, f"setting={setting}"]
        results = output / setting
        sampled = [f"checkpoint={escaped(checkpoint)}", *sampling, *keys]
        stages.append(_stage(config, f"sample_{setting}", "infer", results, sampled))
        scored = [f"predictions.{NAME}={escaped(str(results))}", *keys]
        stages.append(_stage(config, f"score_{setting}", "evaluate", scores_folder(output, setting), scored))
    return stages


def scores_folder(output: Path, setting: str) -> Path:
    """Where evaluate.py writes the scores of a setting."""
    return output / f"scores_{setting}"


def _stage(config: Reproduce, name: str, command: str, folder: Path, keys: Sequence[str]) -> Stage:
    usual = vars(Data())
    shown = {name: value for name, value in vars(config.data).items() if name == "root" or value != usual[name]}
    own = [f"data.{name}={escaped(value)}" for name, value in shown.items()]
    own += [*keys, f"output={escaped(str(folder))}"]
    taken = {key.partition("=")[0] for key in own}
    given = further_keys(config, command)
    for key in given:
        if key.partition("=")[0] in taken:
            raise UsageError(f"keys.{command}: {key} is not allowed, since reproduce gives this key itself; remove it")
    return Stage(name, command, [*given, *own], folder)


def further_keys(config: Reproduce, command: str) -> list[str]:
    """The keys that the user adds to a command.

    Raises:
        UsageError: the text cannot be split into words, or belongs to a command that is not called.
    """
    for name in config.keys:
        if name not in COMMANDS:
            raise UsageError(f"keys.{name} is not allowed; use one of {', '.join(COMMANDS)}")
    return words(f"keys.{command}", config.keys.get(command, ""))


def words(key: str, text: str) -> list[str]:
    """Split the text of a configuration key into words, as a shell does.

    Raises:
        UsageError: a quote is not closed.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{key}={text} is not allowed ({error}); close the quotes") from error


class Finished:
    """The record of the stages that are finished, in the output folder."""

    def __init__(self, output: Path) -> None:
        """Raises InputError if the record is damaged."""
        self.path = output / RECORD
        self.entries: dict[str, Any] = read_json(self.path) if is_file(self.path) else {}
        if not isinstance(self.entries, dict) or not all(isinstance(each, dict) for each in self.entries.values()):
            raise InputError(f"{self.path}: is not a record of stages; delete it and run again")

    def holds(self, stage: Stage) -> bool:
        """Whether the stage was finished with the same keys, and its files are still there."""
        entry = self.entries.get(stage.name, {})
        files = entry.get("files")
        return entry.get("keys") == stage.keys and isinstance(files, int) and files <= _files(stage.folder)

    def drop_from(self, stage: Stage) -> None:
        """Forget a stage and all that were recorded after it, since they depend on it."""
        if stage.name in self.entries:
            names = list(self.entries)
            self.entries = {name: self.entries[name] for name in names[: names.index(stage.name)]}
            write_json(self.path, self.entries)

    def add(self, stage: Stage, environment: dict[str, Any]) -> None:
        """Record that a stage is finished."""
        entry = {"keys": stage.keys, "files": _files(stage.folder), "environment": environment}
        self.entries[stage.name] = entry
        write_json(self.path, self.entries)


def _files(folder: Path) -> int:
    """The number of files directly in a folder."""
    return sum(path.is_file() for path in folder.iterdir()) if folder.is_dir() else 0
