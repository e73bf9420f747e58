"""What learns, how fast, and in which order the pairs come."""

import math
from collections.abc import Iterator

from torch import nn
from torch.utils.data import Sampler

from siftvton.draws import numpy_generator
from siftvton.model.network import SupervisedNetwork
from siftvton.model.single_token import unused_parameters


def select_trainable(network: SupervisedNetwork, which: str) -> list[nn.Parameter]:
    """Freeze everything but what ``which`` trains, and return that.

    Args:
        which: ``finetune``, the network's own choice; or ``all``. Parameters without influence stay frozen either way.
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
    """Linear warm-up from 1 % over ``warmup`` updates, then 1; or half a cosine down to 0 at ``decay_end``."""
    if update < warmup:
        return 0.01 + 0.99 * update / warmup
    if decay_end is None:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (update - warmup) / max(1, decay_end - warmup)))


class StreamSampler(Sampler[tuple[int, int]]):
    """(epoch, index) of every image of a run, one endless stream cut to ``start … stop``.

    Position k is image k mod N of epoch ⌊k/N⌋, whose order is keyed by (seed, epoch). Update u takes the positions
    from u·E on, E being the batch over all micro-batches and processes: however E is split, and wherever a run was
    stopped, an update sees the same images, and no update is smaller than the others.
    """

    def __init__(self, pairs: int, seed: int, start: int, stop: int) -> None:
        """
        Args:
            pairs: N. start, stop: positions in the stream, images.
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
