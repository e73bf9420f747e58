"""Guards for what can end a run early: signals, NaN or infinite values, and files that cannot be written."""

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
from siftvton.finite import is_finite

# On Ctrl-C, torchrun sends SIGINT to its processes although the terminal has already sent it to them.
PASSED_ON = 2.0  # seconds within which torchrun repeats it


class StopRequest:
    """Records whether this process was asked to stop. A second Ctrl-C ends it at once, with exit code 130."""

    def __init__(self) -> None:
        self.made = False
        self._interrupted = -math.inf  # time of the first Ctrl-C

    def make(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and math.isfinite(self._interrupted):
            if "TORCHELASTIC_RUN_ID" not in os.environ or now > self._interrupted + PASSED_ON:
                os.write(sys.stderr.fileno(), b"stopped at once, without saving\n")
                os._exit(130)  # does not wait for workers; incomplete files are ignored by later starts
        elif number == signal.SIGINT:
            self._interrupted = now
        self.made = True


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Record SIGTERM, which schedulers send before they kill, and Ctrl-C, instead of ending at once.

    Worker processes ignore both signals (:func:`siftvton.pool.start_worker`). This block kills workers that are left
    after an error, because Python would wait for them at exit.
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
    child_ends = getattr(signal, "SIGCHLD", None)  # PyTorch's handler raises for a killed worker; Windows has none
    before = signal.signal(child_ends, signal.SIG_DFL) if child_ends else None
    for worker in workers:
        worker.kill()
        worker.join()
    if child_ends:
        signal.signal(child_ends, before)


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold a NaN or infinite value.

    This needs one fused pass on the tensors' device and one transfer. The tensors are checked one by one only if their
    norm is not finite, which values above 1e19 can also cause.
    """
    if not tensors or bool(torch.nn.utils.get_total_norm(tensors.values()).isfinite()):
        return []
    return [name for name, tensor in tensors.items() if not is_finite(tensor)]


def diverged(update: int, found: list[str], images: list[str], good: list[Path], remedy: str) -> DivergedError:
    """The error that ends a run whose values are NaN or infinite.

    Args:
        found: descriptions of what is not finite. images: the pairs of the update.
        good: the last good checkpoint, or empty. remedy: what the user can do, as an imperative.
    """
    shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    return DivergedError(
        f"update {update}: {shown}; its images: {', '.join(images)}; last good checkpoint: "
        f"{good[0] if good else 'none'}; check the files of these images, or {remedy}"
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk or of missing permissions into one line.

    Raises:
        InputError: ``path`` cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # PyTorch's writer raises RuntimeError
        raise InputError(
            f"{path}: cannot be written ({first_line(error)}); free some space or correct the folder's permissions, "
            "then run the same command again to continue from the last checkpoint"
        ) from error
