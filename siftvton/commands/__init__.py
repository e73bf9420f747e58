"""The commands: one module for each, with its configuration and its function.

``python scripts/<name>.py``, ``siftvton <name>`` and ``python -m siftvton <name>`` run the same module. All schemas are
imported at each start, since one configuration file may contain keys of several commands. Therefore each module imports
heavy libraries only inside its function.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from siftvton.locks import only_writer
from siftvton.options import require_ranges

NAMES = (
    "prepare",
    "preprocess_sift",
    "train",
    "infer",
    "tryon",
    "evaluate",
    "check_data",
    "convert_checkpoint",
    "attention_error",
    "visualize_attention",
    "visualize_reference",
    "compare_results",
    "make_toy_data",
    "evaluate_toy",
    "train_autoencoder",
    "experiment",
    "reproduce",
    "report",
    "app",
)


def _output(config: Any) -> Path:
    return Path(config.output)


@dataclass(frozen=True)
class Command:
    """One command; each command's module defines it as ``COMMAND``.

    Attributes:
        schema: the configuration's dataclass; its docstring is the command's title in ``--help``.
        function: does the work; the text that it returns is printed.
        default: the file in ``configs/`` that is read if ``--config`` is not given.
        summary: returns further lines for ``--dry-run``, which prints them as YAML comments.
        output: returns the path that the command writes to.
        lock: locks that path, so that only one run writes to it at a time.
    """

    schema: type
    function: Callable[[Any], str | None]
    default: str
    summary: Callable[[Any], str] | None = None
    output: Callable[[Any], Path] = _output
    lock: Callable[[Path], AbstractContextManager[None]] = only_writer


def command(name: str) -> Command:
    """Return the command ``name``, one of :data:`NAMES`."""
    found = import_module(f"{__name__}.{name}").COMMAND
    assert isinstance(found, Command)
    return found


def schemas() -> dict[str, type]:
    """Return the configuration's dataclass of every command, by the command's name.

    Raises:
        TypeError: a numeric key has no finite range.
    """
    found = {name: command(name).schema for name in NAMES}
    require_ranges(found.values())
    return found
