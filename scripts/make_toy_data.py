"""Draw the toy world and write it in VITON-HD's layout."""

from siftvton.cli import run

if __name__ == "__main__":
    run("make_toy_data")
