"""Gather the results of `make demo` on one page: python scripts/report.py output=outputs/demo"""

from siftvton.cli import run

if __name__ == "__main__":
    run("report")
