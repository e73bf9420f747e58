"""Say what is missing or wrong in a data folder, and which script needs it."""

from siftvton.cli import run

if __name__ == "__main__":
    run("check_data")
