"""Match each pair's photo with its garment's picture and write the correspondences (paper §3.1)."""

from pathlib import Path

from siftvton import cli
from siftvton.config import PreprocessSift


def main(config: PreprocessSift) -> None:
    from siftvton.preprocessing import preprocess  # after the command line is checked

    preprocess(config)


def output(config: PreprocessSift) -> Path:
    from siftvton.preprocessing import output_folder

    return output_folder(config)


if __name__ == "__main__":
    cli.run(main, PreprocessSift, default="vitonhd.yaml", output=output)
