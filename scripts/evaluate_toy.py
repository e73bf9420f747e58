"""Score toy results against the exact rendering: print, colour and the rest of the photo."""

from siftvton.cli import run

if __name__ == "__main__":
    run("evaluate_toy")
