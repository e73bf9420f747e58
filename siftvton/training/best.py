"""The folder ``<output>/best``, whose weights can be later than the checkpoint that a run continues from."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from siftvton.errors import InputError
from siftvton.files import is_file, read_json
from siftvton.training.config import OptimisationConfig
from siftvton.training.guards import writing

UPDATE = "update.json"  # in the folder: the number of updates before its weights were written


def note(update: int) -> dict[str, object]:
    """The record to write with the weights: file name -> content."""
    return {UPDATE: {"update": update}}


def conditions(settings: OptimisationConfig) -> dict[str, float]:
    """What the unpaired score depends on besides the weights and its features, for the log of validations."""
    return {"pictures": settings.validation_pictures, "steps": settings.validation_steps}


def comparable(validations: Iterable[Mapping[str, Any]], settings: OptimisationConfig) -> list[float]:
    """The unpaired scores of a log that the next validation can be compared with.

    These have the same features (Inception's or the autoencoder's), number of pictures and number of steps. Lines of
    earlier versions lack the two numbers, which then count as the same.
    """
    same = conditions(settings)
    return [
        entry["unpaired"]
        for entry in validations
        if entry.get("unpaired") is not None
        and ("fid" in entry) == (settings.inception is not None)
        and all(entry.get(name, value) == value for name, value in same.items())
    ]


def drop_later(folder: Path, update: int) -> None:
    """Remove ``folder`` if its weights are later than ``update``, from which the run continues, and print this.

    A folder of an earlier version does not record its update and stays. If the process is killed meanwhile, the folder
    is either whole or gone.

    Raises:
        InputError: the record is damaged, or the folder cannot be removed.
    """
    path = folder / UPDATE
    if not is_file(path):
        return
    content = read_json(path)
    found = content.get("update") if isinstance(content, dict) else None
    if type(found) is not int:
        raise InputError(f"{path}: does not state an update; delete {folder}, which is written again")
    if found <= update:
        return
    target = Path(os.path.realpath(folder))  # if the folder is a link, the link stays
    removed = target.with_name(f".{target.name}.old")
    with writing(folder):
        if removed.exists():  # left by a process that was killed here
            shutil.rmtree(removed)
        os.replace(target, removed)
        shutil.rmtree(removed)
    print(
        f"{folder}: was removed, because it held the weights of update {found}, and the run continues from update "
        f"{update}; a validation with the lowest unpaired score so far writes it again"
    )
