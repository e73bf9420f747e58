"""Reproduce published scores: ``python scripts/reproduce.py what=sift-vton data.root=data/vitonhd``"""

import gc
from collections.abc import Sequence
from functools import partial
from typing import Any

from siftvton.commands import Command, command, schemas
from siftvton.reproduction.config import Reproduce
from siftvton.settings import load_configuration


def reproduce(config: Reproduce) -> str:
    from siftvton.reproduction import run

    return run.reproduce(config, partial(_call, config.settings))


def _call(settings: str, name: str, keys: Sequence[str]) -> str:
    """Run another command as its script would, in this process; return its text."""
    called = command(name)
    config: Any = load_configuration(called.schema, settings, keys, schemas())
    try:
        with called.lock(called.output(config)):
            return called.function(config) or ""
    finally:
        gc.collect()  # a training's parts refer to each other, and would keep their memory


def summary(config: Reproduce) -> str:
    from siftvton.reproduction import run

    return "\n".join(stage.line(config.settings) for stage in run.planned(config))


COMMAND = Command(Reproduce, reproduce, "reproduce.yaml", summary=summary)
