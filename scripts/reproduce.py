"""Reproduce published scores: fetch weights, check data, sample both settings, score, and judge."""

from siftvton.cli import run

if __name__ == "__main__":
    run("reproduce")
