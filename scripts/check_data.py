"""List the missing and wrong files of a data folder, and the commands that need them."""

from siftvton.cli import run

if __name__ == "__main__":
    run("check_data")
