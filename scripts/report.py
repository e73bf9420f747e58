"""Gather what `make demo` made into one page: python scripts/report.py output=outputs/demo"""

from siftvton import cli
from siftvton.config import Report


def main(config: Report) -> None:
    from siftvton.report import write_report  # after the command line is checked

    print(f"{write_report(config.output)}: open it in a browser")


if __name__ == "__main__":
    cli.run(main, Report, default="toy.yaml")
