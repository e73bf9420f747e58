"""Match each pair's photo with its garment's picture and write the correspondences (paper §3.1)."""

from siftvton.cli import run

if __name__ == "__main__":
    run("preprocess_sift")
