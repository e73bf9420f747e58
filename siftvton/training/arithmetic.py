"""The size of a configured training, in numbers. This module imports no heavy library."""

import math
import os
from pathlib import Path

from siftvton.correspondence import read_matches
from siftvton.data.match_folder import matches_path
from siftvton.errors import InputError, UsageError
from siftvton.training.config import Train
from siftvton.wording import counted


def updates_of(config: Train, pairs: int, images: int) -> int:
    """The number of updates of a run.

    Args:
        pairs: number of training pairs. images: images per update.

    Raises:
        UsageError: the configuration gives neither epochs nor updates.
    """
    if config.train.updates is not None:
        return config.train.updates
    if config.train.epochs is None:
        raise UsageError("train.epochs=null train.updates=null is not allowed; set one of them to a number")
    return math.ceil(config.train.epochs * pairs / images)


def arithmetic(config: Train) -> str:
    """Describe images per update, updates per epoch and matches per image; says so if data cannot be read."""
    settings, data = config.train, config.data
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # set by torchrun and accelerate launch
    images = settings.batch_size * settings.accumulation * processes
    lines = [
        f"{counted(settings.batch_size, 'image')} × {counted(settings.accumulation, 'micro-batch', 'micro-batches')} × "
        f"{counted(processes, 'process', 'processes')} = {counted(images, 'image')} per update"
    ]
    try:
        split = data.open().split("train")
        pairs = split.listed()[: data.max_pairs]
        updates = updates_of(config, len(pairs), images)
        lines.append(
            f"{counted(len(pairs), 'training pair')}: {len(pairs) / images:.1f} updates per epoch; "
            f"{counted(updates, 'update')} = {updates * images / len(pairs):.1f} epochs, "
            f"{counted(updates * images, 'image')}"
        )
        if config.supervision.uses_matches:
            folder = Path(data.matches) if data.matches else split.matches
            counts = [len(read_matches(matches_path(folder, pair.person), data.frame)) for pair in pairs]
            share = sum(map(bool, counts)) / len(counts)
            lines.append(
                f"{sum(counts) / len(counts):.1f} matches per image; {share:.0%} of the images have matches, "
                f"{share * _share(config):.0%} are supervised on average"
            )
    except InputError as error:
        lines.append(str(error))
    return "\n".join(lines)


def _share(config: Train) -> float:
    """The share of images with matches that timestep and dropout allow to be supervised."""
    return (config.supervision.max_timestep + 1) / 1000 * (1 - config.train.dropout)
