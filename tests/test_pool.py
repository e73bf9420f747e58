"""Worker processes end when their parent decides, and when it ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from siftvton.pool import in_processes, loader_workers, one_ahead

PROGRAM = """
import os, sys, time
from contextlib import closing
from pathlib import Path
from siftvton.pool import in_processes

def work(job):
    folder, number, seconds = job
    (folder / f"{os.getpid()}.started").touch()
    time.sleep(seconds)
    (folder / f"{number}.done").touch()
    return number

if __name__ == "__main__":
    folder, workers, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    with closing(in_processes(work, [(folder, n, seconds) for n in range(50)], workers)) as outcomes:
        for outcome in outcomes:
            print(outcome, flush=True)
"""


def started(folder: Path, workers: int, seconds: float) -> tuple[subprocess.Popen, list[int]]:
    """The program once ``workers`` processes are at work, and their ids."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(program), str(folder), str(workers), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(at_work := [int(path.stem) for path in folder.glob("*.started")]) < workers:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process, at_work


def alive(process: int) -> bool:
    """Whether the process runs; a zombie, which has ended and waits for its parent, does not count."""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def ended(processes: list[int], seconds: float = 20) -> bool:
    limit = time.monotonic() + seconds
    while any(map(alive, processes)) and time.monotonic() < limit:
        time.sleep(0.05)
    return not any(map(alive, processes))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
class TestProcesses:
    def test_workers_end_with_a_parent_that_is_killed(self, tmp_path: Path):
        process, workers = started(tmp_path, 2, seconds=300)
        process.kill()
        process.wait()
        assert ended(workers)

    @pytest.mark.parametrize("whole_group", [False, True])
    def test_sigterm_ends_all_after_the_running_jobs_with_one_line(self, tmp_path: Path, whole_group: bool):
        process, workers = started(tmp_path, 2, seconds=0.5)
        if whole_group:
            os.killpg(process.pid, signal.SIGTERM)
        else:
            process.terminate()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 143
        assert errors == "program.py: stopped by SIGTERM; the same command continues from here\n"
        assert ended(workers)
        done = len(list(tmp_path.glob("*.done")))
        assert 2 <= done < 50  # the jobs that were running are whole, the last ones were not begun

    def test_sigterm_ends_work_in_one_process_with_one_line(self, tmp_path: Path):
        process, _ = started(tmp_path, 1, seconds=300)
        process.terminate()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 143
        assert errors == "program.py: stopped by SIGTERM; the same command continues from here\n"


class Settings:
    """A data set; its items say how the process that reads them is set up."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, _place: int) -> list[int]:
        ignored = [signal.getsignal(number) is signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)]
        return [cv2.getNumThreads(), *ignored]


def test_a_loaders_workers_use_one_core_and_leave_signals_to_the_parent():
    """Even if the parent uses OpenCV's threads: setting their number in a forked process would hang."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (15, 15), 3)
    try:
        loader = DataLoader(Settings(), batch_size=None, timeout=30, **loader_workers(1))  # type: ignore[arg-type]
        assert list(loader) == [[1, True, True]] * 2
    finally:
        cv2.setNumThreads(before)


def test_sigterm_is_handled_as_before_when_all_jobs_are_done():
    before = signal.getsignal(signal.SIGTERM)
    assert list(in_processes(abs, [-1, 2], workers=1)) == [1, 2]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_next_job_runs_while_the_outcome_of_one_is_used():
    started = [threading.Event() for _ in range(3)]

    def work(number: int) -> int:
        started[number].set()
        return number * number

    outcomes = one_ahead(work, range(3))
    assert next(outcomes) == 0
    assert started[1].wait(10)
    assert list(outcomes) == [1, 4]


def test_an_error_in_a_job_reaches_the_caller_in_its_place():
    outcomes = one_ahead(lambda number: 1 // number, [1, 0, 1])
    assert next(outcomes) == 1
    with pytest.raises(ZeroDivisionError):
        next(outcomes)
    assert list(one_ahead(str, [])) == []
