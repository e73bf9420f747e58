"""Gather what `make demo` made into one page: python scripts/report.py output=outputs/demo"""

from siftvton import cli
from siftvton.config import Report


def main(config: Report) -> None:
    from siftvton.toy.showcase import write_page  # after the command line is checked

    print(f"{write_page(config.output)}: open it in a browser")


if __name__ == "__main__":
    cli.run(main, Report, default="toy.yaml")
