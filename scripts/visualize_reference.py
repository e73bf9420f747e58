"""Draw matches and the reference attention that they give."""

from siftvton.cli import run

if __name__ == "__main__":
    run("visualize_reference")
