"""Measure how far a checkpoint's attention is from the right place on the garment, and draw the attention."""

from siftvton.cli import run

if __name__ == "__main__":
    run("attention_error")
