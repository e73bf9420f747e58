"""Say what is missing or wrong in a data folder, and which script needs it."""

from siftvton import cli
from siftvton.config import CheckData


def main(config: CheckData) -> None:
    from siftvton.data.check import check  # after the command line is checked

    check(config)


if __name__ == "__main__":
    cli.run(main, CheckData, default="vitonhd.yaml")
