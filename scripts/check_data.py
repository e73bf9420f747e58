"""Say what is missing or wrong in a data folder, and which script needs it."""

from siftvton import cli
from siftvton.config import CheckData
from siftvton.data.check import check

if __name__ == "__main__":
    cli.run(check, CheckData, default="vitonhd.yaml")
