"""Find the matches between each photo and the picture of its garment (paper §3.1)."""

from siftvton.cli import run

if __name__ == "__main__":
    run("preprocess_sift")
