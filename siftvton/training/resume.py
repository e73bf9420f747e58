"""Choose the checkpoints from which a run can continue, and compare its configuration with the saved one."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from siftvton.errors import InputError, UsageError
from siftvton.settings import differences, values
from siftvton.training import checkpoints
from siftvton.training.config import Train

# Keys that may change when a run continues, because no random draw and no update depends on them. The length of a run
# may also change, unless the learning rate depends on it.
LENGTH_KEYS = ("train.epochs", "train.updates")
FREE_KEYS = (
    "output",
    "resume",
    "data.root",  # the identity of the run records the data themselves
    "data.layout",
    "data.matches",
    "data.agnostic",
    *LENGTH_KEYS,
    "train.batch_size",  # the progress records its product with accumulation and processes
    "train.accumulation",
    "train.compile",  # it changes results by rounding only, like train.cpu
    "train.workers",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.save_dtype",
    "train.save_variant",
    "train.validate_every",
    "train.validation_pictures",
    "train.validation_steps",
    "train.inception",
    "train.alexnet",
    "train.tracker",
    "train.run_name",
    "train.profile_updates",
    "train.push_to_hub",
    "train.cpu",
)

# Keys that the files of earlier versions lack, although updates depend on them. Those runs had the defaults of now.
ADDED_KEYS = ("data.max_pairs", "train.adam_beta1", "train.adam_beta2", "train.adam_epsilon", "train.noise_offset")


def candidates_of(config: Train) -> list[Path]:
    """The checkpoints to continue from, best first, after a check that the run has this configuration.

    Raises:
        UsageError: the run in ``output`` has another configuration, or ``resume`` requests a new run.
        InputError: the saved configuration or the named checkpoint is missing.
    """
    output = Path(config.output)
    candidates = checkpoints.find(output, config.resume)
    if candidates:
        fixed = LENGTH_KEYS if config.train.schedule == "cosine" else ()
        free = [key for key in FREE_KEYS if key not in fixed]
        older = {key: value for key, value, _ in values(Train()) if key in ADDED_KEYS}
        require_same(config, output / "train.yaml", candidates[0], free, older)
    return candidates


def require_same(
    config: Any, saved: Path, checkpoint: Path, free: Collection[str], older: Mapping[str, Any] | None = None
) -> None:
    """Compare a configuration with the saved one of its run.

    Args:
        saved: the file of the saved configuration.
        checkpoint: a checkpoint of the run, for the message.
        free: the keys that may differ.
        older: values of keys that files of earlier versions lack.

    Raises:
        UsageError: another key differs. InputError: the saved configuration is missing.
    """
    if not saved.is_file():
        raise InputError(
            f"{saved}: no such file, so the configuration of {checkpoint} is unknown; restore the file, or choose "
            "another output"
        )
    changed = [line for line in differences(config, saved, older) if line.partition(":")[0] not in free]
    if changed:
        raise UsageError(
            f"{saved.parent} holds a run with another configuration ({'; '.join(changed)}); choose another output"
        )
