"""The logs of a run: one line of JSON for each update or validation."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siftvton.files import read_bytes, write_text
from siftvton.training.guards import writing
from siftvton.wording import counted

METRICS, VALIDATION = "metrics.jsonl", "validation.jsonl"


def line_of(update: int, values: Mapping[str, float]) -> str:
    """The log line of an update. JSON has no NaN and no infinity, so null stands for them."""
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return json.dumps({"update": update, **finite}, allow_nan=False) + "\n"


def append(path: Path, update: int, values: Mapping[str, float]) -> None:
    """Add a line to a log.

    Raises:
        InputError: the file cannot be written.
    """
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(line_of(update, values))


def cut(path: Path, update: int) -> list[dict[str, Any]]:
    """Remove all entries after ``update``, from which the run continues; returns the remaining entries.

    Lines that cannot be read are also removed. A stop can have cut the last line short; all others are reported.

    Raises:
        InputError: the file cannot be read or written, or is not a regular file.
    """
    if not os.path.lexists(path):
        return []
    content = read_bytes(path, "move it out of the folder")
    with writing(path):
        lines = content.decode("utf-8", errors="replace").splitlines(keepends=True)
        entries = [_entry(line) for line in lines]
        broken = [
            number for number, entry in enumerate(entries, start=1) if entry is None and lines[number - 1][-1] == "\n"
        ]
        if broken:
            print(f"{path}: removed {counted(len(broken), 'broken line')}; the first is line {broken[0]}")
        kept = [entry for entry in entries if entry is not None and entry["update"] <= update]
        write_text(path, "".join(json.dumps(entry) + "\n" for entry in kept))
    return kept


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line, parse_constant=lambda _name: None)  # logs of earlier versions hold NaN and Infinity
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and type(entry.get("update")) is int else None
