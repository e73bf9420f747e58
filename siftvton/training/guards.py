"""What ends a run early: a signal, values that are NaN or infinite, a file that cannot be written."""

import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from types import FrameType

import torch
from safetensors import SafetensorError
from torch import Tensor

from siftvton.errors import DivergedError, InputError, first_line
from siftvton.model.finite import is_finite

# torchrun passes on the Ctrl-C that its processes have received from the terminal already.
PASSED_ON = 2.0  # seconds within which it does


class StopRequest:
    """Whether this process was asked to stop. A second Ctrl-C ends it at once, with exit code 130."""

    def __init__(self) -> None:
        self.made = False
        self._interrupted = -math.inf  # when Ctrl-C came first

    def make(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and math.isfinite(self._interrupted):
            if "TORCHELASTIC_RUN_ID" not in os.environ or now > self._interrupted + PASSED_ON:
                os.write(sys.stderr.fileno(), b"stopped at once, without saving\n")
                os._exit(130)  # without waiting for workers; files that are not whole do not count
        elif number == signal.SIGINT:
            self._interrupted = now
        self.made = True


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Note SIGTERM, which schedulers send before they kill, and Ctrl-C, instead of ending at once.

    Worker processes ignore both signals (:func:`siftvton.pool.start_worker`). Python waits at its end for those that
    an error has left behind, so they are killed here.
    """
    request = StopRequest()
    before = {number: signal.signal(number, request.make) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        _kill_workers()
        for number, handler in before.items():
            signal.signal(number, handler)


def _kill_workers() -> None:
    workers = active_children()
    if not workers:
        return
    child_ends = getattr(signal, "SIGCHLD", None)  # PyTorch raises there when a worker is killed; Windows has none
    before = signal.signal(child_ends, signal.SIG_DFL) if child_ends else None
    for worker in workers:
        worker.kill()
        worker.join()
    if child_ends:
        signal.signal(child_ends, before)


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold a NaN or an infinite value.

    One fused pass on the tensors' device and one transfer. Only where the norm is not finite, which values above 1e19
    can also cause, are the tensors looked at one by one.
    """
    if not tensors or bool(torch.nn.utils.get_total_norm(tensors.values()).isfinite()):
        return []
    return [name for name, tensor in tensors.items() if not is_finite(tensor)]


def diverged(update: int, found: list[str], images: list[str], good: list[Path], remedy: str) -> DivergedError:
    """The error that ends a run whose values are NaN or infinite.

    Args:
        found: what is not finite, in words. images: the pairs of the update. good: the last good checkpoint, if any.
    """
    shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    return DivergedError(
        f"update {update}: {shown}; its images: {', '.join(images)}; last good checkpoint: "
        f"{good[0] if good else 'none'}. Look at these files, or {remedy}"
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk or of a forbidden folder into one line.

    Raises:
        InputError: ``path`` cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # PyTorch's writer raises RuntimeError
        raise InputError(
            f"{path}: cannot be written ({first_line(error)}); free space or correct the folder's permissions, "
            "then the same command continues from the last checkpoint"
        ) from error
