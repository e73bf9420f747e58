"""Draw matches and the reference attention that follows from them."""

from siftvton.cli import run

if __name__ == "__main__":
    run("visualize_reference")
