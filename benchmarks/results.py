"""The results of `make bench`: ratios by name, in `outputs/bench.json`. Also tables of rows that lack some values."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from siftvton.files import write_json
from siftvton.tables import markdown_table

PATH = Path("outputs/bench.json")


def record(**ratios: float) -> None:
    """Add ratios to the file; a ratio of the same name is replaced."""
    before = json.loads(PATH.read_text(encoding="utf-8")) if PATH.is_file() else {}
    write_json(PATH, {**before, **{name: round(value, 4) for name, value in ratios.items()}})


def table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], text_columns: int = 1) -> str:
    """A Markdown table without the columns that no row has.

    Args:
        columns: the title of each value of a row, by the value's name.
        text_columns: number of columns, from the left, that hold text.
    """
    shown = {name: title for name, title in columns.items() if any(name in row for row in rows)}

    def cell(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    cells = [[cell(row.get(name, "")) for name in shown] for row in rows]
    return "\n".join(markdown_table(list(shown.values()), cells, text_columns))
