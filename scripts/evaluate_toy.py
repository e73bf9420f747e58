"""Score try-on results of the toy world against the exact rendering: prints, colours, the rest of the photo."""

from siftvton.cli import run

if __name__ == "__main__":
    run("evaluate_toy")
