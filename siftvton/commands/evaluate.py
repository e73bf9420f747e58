"""Score folders of results: SSIM and LPIPS in the paired setting, FID and KID in the unpaired one (paper §4.1)."""

from siftvton.commands import Command
from siftvton.evaluation.config import Evaluate


def evaluate(config: Evaluate) -> str:
    from siftvton.evaluation import evaluation

    return evaluation.evaluate(config)


COMMAND = Command(Evaluate, evaluate, "vitonhd.yaml")
