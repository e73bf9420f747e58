"""What the benchmarks print and keep: ratios by name in `outputs/bench.json`, medians with quartiles, and tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siftvton.files import write_json
from siftvton.tables import markdown_table

PATH = Path("outputs/bench.json")


def record(**ratios: float) -> None:
    """Add ratios to the file; a ratio of the same name is replaced."""
    before = json.loads(PATH.read_text(encoding="utf-8")) if PATH.is_file() else {}
    write_json(PATH, {**before, **{name: round(value, 4) for name, value in ratios.items()}})


def spread(values: np.ndarray, digits: int = 3) -> str:
    """Return the median of values, with their quartiles in brackets."""
    middle, low, high = np.percentile(values, [50, 25, 75])
    return f"{middle:.{digits}f} [{low:.{digits}f} to {high:.{digits}f}]"


def table(
    columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], text_columns: int = 1, number: str = ".3g"
) -> str:
    """A Markdown table without the columns that no row has.

    Args:
        columns: the title of each value of a row, by the value's name.
        text_columns: number of columns, from the left, that hold text.
        number: how numbers with a fraction are formatted.
    """
    shown = {name: title for name, title in columns.items() if any(name in row for row in rows)}

    def cell(value: Any) -> str:
        return f"{value:{number}}" if isinstance(value, float) else str(value)

    cells = [[cell(row.get(name, "")) for name in shown] for row in rows]
    return "\n".join(markdown_table(list(shown.values()), cells, text_columns))
