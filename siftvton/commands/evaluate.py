"""Score folders of results (paper §4.1: SSIM and LPIPS if paired, FID and KID if unpaired)."""

from siftvton.commands import Command
from siftvton.evaluation.config import Evaluate


def evaluate(config: Evaluate) -> str:
    from siftvton.evaluation import evaluation

    return evaluation.evaluate(config)


COMMAND = Command(Evaluate, evaluate, "vitonhd.yaml")
