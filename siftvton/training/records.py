"""What a run logs, one line of JSON an update or a validation."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siftvton.files import read_bytes, write_text
from siftvton.training.guards import writing

METRICS, VALIDATION = "metrics.jsonl", "validation.jsonl"


def line_of(update: int, values: Mapping[str, float]) -> str:
    """JSON has no NaN and no infinity; null stands for them."""
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return json.dumps({"update": update, **finite}, allow_nan=False) + "\n"


def append(path: Path, update: int, values: Mapping[str, float]) -> None:
    """
    Raises:
        InputError: the file cannot be written.
    """
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(line_of(update, values))


def cut(path: Path, update: int) -> list[dict[str, Any]]:
    """Drop what was logged after ``update``, from where the run goes on; returns what is left.

    A line that cannot be read is dropped, too. A stop can have cut the last one short; any other is told of.

    Raises:
        InputError: the file cannot be read or written, or something else is in its place.
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
            print(f"{path}: line {broken[0]} is not an entry of this log and is dropped, {len(broken)} lines in all")
        kept = [entry for entry in entries if entry is not None and entry["update"] <= update]
        write_text(path, "".join(json.dumps(entry) + "\n" for entry in kept))
    return kept


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line, parse_constant=lambda _name: None)  # NaN or infinite, in logs of earlier versions
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and type(entry.get("update")) is int else None
