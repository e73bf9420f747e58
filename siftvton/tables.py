"""Tables as Markdown and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> list[str]:
    """The lines of a Markdown table.

    Args:
        text_columns: how many columns from the left hold text; the others hold numbers and are aligned at the right.
    """
    rule = ["---"] * text_columns + ["---:"] * (len(titles) - text_columns)
    return [f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows)]


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """One line for each row; the columns are the first row's keys."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
