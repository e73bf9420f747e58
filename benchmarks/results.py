"""The results of `make bench`: ratios by name, in `outputs/bench.json`."""

import json
from pathlib import Path

from siftvton.files import write_json

PATH = Path("outputs/bench.json")


def record(**ratios: float) -> None:
    """Add ratios to the file; a ratio of the same name is replaced."""
    before = json.loads(PATH.read_text(encoding="utf-8")) if PATH.is_file() else {}
    write_json(PATH, {**before, **{name: round(value, 4) for name, value in ratios.items()}})
