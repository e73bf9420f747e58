"""Run a function over many jobs in processes, each on one core; how every worker process starts and ends."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import cv2

from siftvton.errors import UsageError
from siftvton.memory import keep_freed_memory, use_large_pages

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def in_processes(
    function: Callable[[Job], Outcome], jobs: Sequence[Job], workers: int
) -> Generator[Outcome, None, None]:
    """Yield the outcomes of all jobs, as they come; close the generator to end the processes early.

    Until the generator ends, SIGTERM ends the program after the running jobs, with one line and exit code 143.

    Args:
        function: computes the outcome of one job; a new process must be able to import it by name.
        jobs: the jobs.
        workers: number of processes; with 1, or with a single job, the function runs in this process.

    Raises:
        UsageError: a process was killed.
    """
    workers = min(workers, len(jobs))
    with ended_by_sigterm():
        if workers <= 1:
            yield from map(function, jobs)
            return
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=start_worker)
        try:
            for future in as_completed([pool.submit(function, job) for job in jobs]):
                yield future.result()
        except BrokenProcessPool as error:
            raise UsageError(
                f"workers={workers}: a process was killed, usually because memory ran out; lower workers and run the "
                "same command again: it continues from here"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def one_ahead(function: Callable[[Job], Outcome], jobs: Iterable[Job]) -> Iterator[Outcome]:
    """Yield the outcomes of the jobs in their order; a thread already works on the next one."""
    with ThreadPoolExecutor(1) as pool:
        running: Future[Outcome] | None = None
        for job in jobs:
            following = pool.submit(function, job)
            if running is not None:
                yield running.result()
            running = following
        if running is not None:
            yield running.result()


def loader_workers(count: int) -> dict[str, Any]:
    """Return the arguments of a ``DataLoader`` that reads in ``count`` worker processes; 0: in this process.

    This also ends OpenCV's threads in this process: a process that is forked while they exist hangs when it sets the
    number of threads.
    """
    if count:
        cv2.setNumThreads(1)
    return {"num_workers": count, "worker_init_fn": start_worker}


def start_worker(_number: int = 0) -> None:
    """Prepare a worker process of a pool or of a ``DataLoader``, which passes the worker's number.

    Ctrl-C and SIGTERM reach the whole process group. Workers ignore both, and the parent ends them: a worker that
    ended by itself would make the parent fail and lose its work.
    """
    keep_freed_memory()
    use_large_pages()
    cv2.setNumThreads(1)  # the processes share the cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended in any way."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])  # a pipe that the system closes when the parent ends
    os._exit(1)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM print one line and raise ``SystemExit`` with code 143, so that open resources are closed."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, _frame: FrameType | None) -> None:
    print(f"{Path(sys.argv[0]).name}: stopped by SIGTERM; the same command continues from here", file=sys.stderr)
    raise SystemExit(128 + number)
