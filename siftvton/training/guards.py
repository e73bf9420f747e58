"""What ends a run early: a signal, or numbers that are none."""

import math
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from siftvton.errors import DivergedError


class StopRequest:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self.made = False

    def make(self, _number: int, _frame: FrameType | None) -> None:
        self.made = True


@contextmanager
def stop_on_sigterm() -> Iterator[StopRequest]:
    """Note SIGTERM, which schedulers send before they kill, instead of ending at once."""
    request = StopRequest()
    before = signal.signal(signal.SIGTERM, request.make)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)


def check_finite(values: Mapping[str, float], update: int, images: list[str], last_good: str | None) -> None:
    """Stop before numbers that are none reach a checkpoint.

    Args:
        values: an update's losses and gradient norm by name. images: the pairs that the update saw.

    Raises:
        DivergedError: one of the values is NaN or infinite.
    """
    bad = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise DivergedError(
            f"update {update}: {', '.join(bad)}; its images: {', '.join(images)}; last good checkpoint: "
            f"{last_good or 'none'}. Look at these files, lower train.learning_rate, or set train.max_gradient_norm"
        )
