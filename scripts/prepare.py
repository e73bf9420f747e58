"""Prepare photos and garments for try-on, and write them in VITON-HD's layout."""

from siftvton.cli import run

if __name__ == "__main__":
    run("prepare")
