"""Train or fine-tune the try-on network: ``python scripts/train.py --config configs/vitonhd.yaml key=value …``"""

from siftvton.commands import Command
from siftvton.training.config import Train


def train(config: Train) -> None:
    from siftvton.pool import ended_by_sigterm

    with ended_by_sigterm():  # until the training itself saves and stops at this signal
        from siftvton.training import loop

        loop.train(config)


def summary(config: Train) -> str:
    from siftvton.training.arithmetic import arithmetic

    return arithmetic(config)


COMMAND = Command(Train, train, "vitonhd.yaml", summary=summary)
