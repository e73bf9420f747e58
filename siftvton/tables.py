"""Write tables as Markdown and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        titles: the titles of the columns.
        rows: the cells of each row.
        text_columns: number of columns, from the left, that hold text; the others hold numbers, aligned on the right.
    """
    rule = ["---"] * text_columns + ["---:"] * (len(titles) - text_columns)
    return [f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows)]


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Return a CSV text with one line for each row; the keys of the first row are the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
