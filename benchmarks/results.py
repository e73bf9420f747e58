"""Where `make bench` gathers its ratios: `outputs/bench.json`, name to number."""

import json
from pathlib import Path

from siftvton.files import write_json

PATH = Path("outputs/bench.json")


def record(**ratios: float) -> None:
    """Add ratios to the file; those of the same name are replaced."""
    before = json.loads(PATH.read_text(encoding="utf-8")) if PATH.is_file() else {}
    write_json(PATH, {**before, **{name: round(value, 4) for name, value in ratios.items()}})
