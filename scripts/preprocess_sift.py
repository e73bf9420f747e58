"""Match each pair's photo with its garment's picture and write the correspondences (paper §3.1)."""

from siftvton import cli
from siftvton.config import PreprocessSift
from siftvton.preprocessing import preprocess

if __name__ == "__main__":
    cli.run(preprocess, PreprocessSift, default="vitonhd.yaml")
