"""Train variants ("arms") over several seeds, measure them alike and write one table (toy world)."""

from siftvton.cli import run

if __name__ == "__main__":
    run("experiment")
