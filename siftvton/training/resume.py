"""Which checkpoints a start can continue from, and which keys may have changed since."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from siftvton.errors import InputError, UsageError
from siftvton.settings import differences
from siftvton.training import checkpoints
from siftvton.training.config import Train

# What may change between the starts of one run: none of it changes a draw, or what an update computes from it. A
# run's length may change, too, unless the learning rate follows it.
LENGTH_KEYS = ("train.epochs", "train.updates")
FREE_KEYS = (
    "output",
    "resume",
    "data.root",  # the data themselves are kept with the run's identity
    "data.matches",
    *LENGTH_KEYS,
    "train.batch_size",  # its product with accumulation and processes is kept with the progress
    "train.accumulation",
    "train.workers",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.validate_every",
    "train.validation_pictures",
    "train.validation_steps",
    "train.inception",
    "train.alexnet",
    "train.tracker",
    "train.push_to_hub",
    "train.cpu",
)


def candidates_of(config: Train) -> list[Path]:
    """The checkpoints to continue from, once it is clear that the run there is of this configuration.

    Raises:
        UsageError: the run in ``output`` is of another configuration, or is not to be continued.
        InputError: its configuration or the named checkpoint is missing.
    """
    output = Path(config.output)
    candidates = checkpoints.find(output, config.resume)
    if candidates:
        fixed = LENGTH_KEYS if config.train.schedule == "cosine" else ()
        require_same(config, output / "train.yaml", candidates[0], [key for key in FREE_KEYS if key not in fixed])
    return candidates


def require_same(config: Any, saved: Path, checkpoint: Path, free: Collection[str]) -> None:
    """Compare a configuration with the one that its run has saved.

    Args:
        checkpoint: one of the run's, for the message. free: the keys that may differ.

    Raises:
        UsageError: another key differs. InputError: the saved one is missing.
    """
    if not saved.is_file():
        raise InputError(
            f"{saved}: no such file, so the configuration of {checkpoint} is not known; restore it, or name another "
            "output"
        )
    changed = [line for line in differences(config, saved) if line.partition(":")[0] not in free]
    if changed:
        raise UsageError(
            f"{saved.parent} holds a run of another configuration ({'; '.join(changed)}); name another output"
        )
