"""Train and measure the arms of an experiment on the toy world; one table."""

from siftvton.cli import run

if __name__ == "__main__":
    run("experiment")
