"""Measure how far the hooked layers of a checkpoint look from where they should, and draw what they look at."""

from siftvton.cli import run

if __name__ == "__main__":
    run("attention_error")
