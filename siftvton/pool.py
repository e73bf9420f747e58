"""A function over many jobs in processes, each on one core."""

import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

import cv2

from siftvton.errors import UsageError
from siftvton.memory import keep_freed_memory

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def in_processes(
    function: Callable[[Job], Outcome], jobs: Sequence[Job], workers: int
) -> Generator[Outcome, None, None]:
    """The outcomes as they come; close the generator to end the processes early.

    Args:
        function: importable by name in a new process.
        workers: processes; with 1, or a single job, it runs in this one.

    Raises:
        UsageError: a process was killed.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(function, jobs)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        for future in as_completed([pool.submit(function, job) for job in jobs]):
            yield future.result()
    except BrokenProcessPool as error:
        raise UsageError(
            f"workers={workers}: a process was killed, mostly for want of memory; "
            "with fewer workers the same command goes on from here"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    keep_freed_memory()
    cv2.setNumThreads(1)  # the processes share the cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C stops the parent, which lets each worker end its job
