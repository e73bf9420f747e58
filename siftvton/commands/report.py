"""Gather the results of ``make demo`` on one page: ``python scripts/report.py output=outputs/demo``"""

from dataclasses import dataclass

from siftvton.commands import Command
from siftvton.options import option


@dataclass
class Report:
    """Gather the results of `make demo` on one page."""

    output: str = option("outputs/demo", "folder of the demo's results, into which the page is written", path=True)


def report(config: Report) -> str:
    from siftvton.toy.showcase import write_page

    return f"{write_page(config.output)}: open it in a browser"


COMMAND = Command(Report, report, "toy.yaml")
