"""Which checkpoints a start can go on from, and what of the configuration may have changed since."""

from pathlib import Path

from siftvton import cli
from siftvton.config import Train
from siftvton.errors import InputError, UsageError
from siftvton.training import checkpoints

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
    """The checkpoints to go on from, once it is clear that the run there is of this configuration.

    Raises:
        UsageError: the run in ``output`` is of another configuration, or is not to be continued.
        InputError: its configuration or the named checkpoint is missing.
    """
    output = Path(config.output)
    candidates = checkpoints.find(output, config.resume)
    saved = output / "train.yaml"
    if candidates and not saved.is_file():
        raise InputError(
            f"{saved}: no such file, so the configuration of {candidates[0]} is not known; restore it, or name another "
            "output"
        )
    changed = cli.differences(config, saved) if candidates else []
    fixed = LENGTH_KEYS if config.train.schedule == "cosine" else ()
    changed = [line for line in changed if (key := line.partition(":")[0]) in fixed or key not in FREE_KEYS]
    if changed:
        raise UsageError(f"{output} holds a run of another configuration ({'; '.join(changed)}); name another output")
    return candidates
