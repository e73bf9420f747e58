"""Score folders of results: SSIM and LPIPS in the paired setting, FID and KID in the unpaired one (paper §4.1)."""

from siftvton import cli
from siftvton.config import Evaluate


def main(config: Evaluate) -> None:
    from siftvton.evaluation.run import evaluate  # after the command line is checked: it takes seconds to import

    print(evaluate(config), end="")


if __name__ == "__main__":
    cli.run(main, Evaluate, default="vitonhd.yaml")
