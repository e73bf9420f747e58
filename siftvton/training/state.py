"""Trained parameters, learning rate, and the order of the pairs."""

import math
from collections.abc import Iterator

from torch import nn
from torch.utils.data import Sampler

from siftvton.draws import numpy_generator
from siftvton.model.network import SupervisedNetwork
from siftvton.model.single_token import unused_parameters


def select_trainable(network: SupervisedNetwork, which: str) -> list[nn.Parameter]:
    """Freeze all parameters except those to train, and return the latter.

    Args:
        which: ``finetune``, the network's own choice; or ``all``. Parameters without effect are always frozen.
    """
    network.requires_grad_(False)
    unused = unused_parameters(network)
    chosen = [
        parameter
        for name, parameter in network.named_parameters()
        if name not in unused and (which == "all" or name.startswith(network.finetuned))
    ]
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen


def learning_rate_factor(update: int, warmup: int, decay_end: int | None = None) -> float:
    """The factor on the learning rate: a linear warm-up from 1 % over ``warmup`` updates, then 1.

    With ``decay_end``, half a cosine follows the warm-up and reaches 0 at that update.
    """
    if update < warmup:
        return 0.01 + 0.99 * update / warmup
    if decay_end is None:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (update - warmup) / max(1, decay_end - warmup)))


class StreamSampler(Sampler[tuple[int, int]]):
    """The (epoch, index) of every image of a run: an endless stream, cut to ``start … stop``.

    Position k is image k mod N of epoch ⌊k/N⌋; the order of an epoch is keyed by (seed, epoch). Update u takes E
    positions from u·E on, where E is the batch over all micro-batches and processes. An update sees the same images
    however E is split and wherever the run was stopped, and all updates have the same size.
    """

    def __init__(self, pairs: int, seed: int, start: int, stop: int) -> None:
        """
        Args:
            pairs: N, number of training pairs. start, stop: positions in the stream, in images.
        """
        self.pairs = pairs
        self.seed = seed
        self.positions = range(start, stop)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order_of = -1
        for position in self.positions:
            epoch, place = divmod(position, self.pairs)
            if epoch != order_of:
                order, order_of = numpy_generator(self.seed, epoch, "order").permutation(self.pairs), epoch
            yield epoch, int(order[place])
