"""Kills, signals, full disks and second writers, for every long script: ``make faults``.

Each case disturbs a run, then runs the same command again, undisturbed. The result must be identical to that of an
uninterrupted run, file by file, with no process left over and nothing outside of the output folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from robustness.harness import SCRIPTS, Bench, Case, Finished, Verdict, judged, wrong
from robustness.tally import tally
from robustness.world import Undisturbed, World

LIMIT = 600.0  # seconds that a case may take
PATIENCE = 120.0  # seconds that a process may take to end after a signal, or to do all of its work
KILLS = 3  # kills in each case, one after the other
SIGNALS = {
    "SIGKILL": signal.SIGKILL,
    "SIGTERM": signal.SIGTERM,
    "SIGINT": signal.SIGINT,
}
STOPPED = (0, 1, 130, 143, -signal.SIGTERM, -signal.SIGINT)  # exit codes after a signal that can be caught
DISKS = (2_000, 30_000, 300_000)  # limits on the size of a file, bytes


@dataclass(frozen=True)
class Long:
    """A script that runs for some time.

    Attributes:
        keys: its arguments.
        results: patterns of the files in the output folder that are compared.
    """

    keys: Callable[[World], tuple[str, ...]]
    results: tuple[str, ...]


def _pairs(world: World) -> Path:
    """A toy world that is large enough to keep SIFT and the network busy for some time."""
    keys = ("train_pairs=16", "test_pairs=8", "height=256", "width=192", "workers=1")
    return world.reference("more pairs", "make_toy_data", *keys)


def _results(world: World) -> Path:
    return world.reference("more results", "infer", f"data.root={_pairs(world)}")


LONG = {
    "make_toy_data": Long(
        lambda world: ("train_pairs=24", "test_pairs=4", "height=256", "width=192", "workers=2"),
        ("train/*/*", "test/*/*", "*.txt", "world.json"),
    ),
    "preprocess_sift": Long(
        lambda world: (f"data.root={_pairs(world)}", "data.matches_frame=[256,192]", "workers=2", "preview=2"),
        ("*_sift_matches.json", "matches.md", "previews/*", "previews.jpg"),
    ),
    "train": Long(
        lambda world: (
            f"data.matches={world.matches}",
            "train.updates=40",
            "train.accumulation=2",
            "train.workers=2",
            "train.checkpoint_every=3",
        ),
        ("model/*/*.safetensors", "metrics.jsonl"),
    ),
    "train_autoencoder": Long(
        lambda world: ("updates=20", "batch_size=1", "crop=64", "checkpoint_every=3"),
        ("vae/*", "psnr.json", "reconstructions.png"),
    ),
    "infer": Long(lambda world: (f"data.root={_pairs(world)}", "steps=2"), ("*.png", "sheet/*")),
    "evaluate": Long(
        lambda world: (
            f"data.root={_pairs(world)}",
            f"predictions.x={_results(world)}",
            f"autoencoder={world.model / 'vae'}",
        ),
        ("metrics.json", "table.md", "per_image_x.csv"),
    ),
}


def cases() -> Iterator[Case]:
    for script in LONG:
        for name, number in SIGNALS.items():
            for seed in range(3 if number == signal.SIGKILL else 1):
                yield Case(
                    "signals", f"{script}: {name} {seed}", partial(_signalled, script, number, True, seed), LIMIT
                )
        yield Case(
            "signals", f"{script}: SIGKILL to the parent", partial(_signalled, script, signal.SIGKILL, False, 9), LIMIT
        )
        for size in DISKS:
            yield Case("full disks", f"{script}: files of {size} bytes", partial(_full_disk, script, size), LIMIT)
        yield Case("two writers", script, partial(_two, script), LIMIT)


def _command(script: str, bench: Bench, output: Path) -> list[str]:
    keys = LONG[script].keys(bench.world)
    return [
        sys.executable,
        str(SCRIPTS / f"{script}.py"),
        "--config",
        str(bench.world.settings),
        f"output={output}",
        *keys,
    ]


_numbers = count()  # numbers of the logs


class Started:
    """The process of a script, in its own session, so that all processes left over can be found."""

    def __init__(self, script: str, bench: Bench, output: Path, file_size: int | None = None) -> None:
        self.script, self.log = script, bench.folder / f"log {next(_numbers)}.txt"
        root = str(SCRIPTS.parent)
        command = _command(script, bench, output)
        if file_size is not None:  # in the shell, since code between fork and exec is not safe beside threads
            command = ["/bin/sh", "-c", f'ulimit -f {file_size // 512}; exec "$@"', "sh", *command]
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=self.log.open("wb"),
            start_new_session=True,
        )

    def ended(self) -> Finished:
        """The end of the process; if it does not end in time, it counts as a hang."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            return Finished(self.script, None, "", "", f"still busy after {PATIENCE:g} seconds")
        return Finished(self.script, code, "", self.log.read_text(errors="replace"))

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def left(self, patience: float = 15.0) -> list[str]:
        """Command lines of the processes of the session that still exist after ``patience`` seconds."""
        until = time.monotonic() + patience
        while (found := _of_session(self.process.pid)) and time.monotonic() < until:
            time.sleep(0.1)
        return found


def _of_session(session: int) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended meanwhile
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " ").strip())
    return found


def _undisturbed(script: str, bench: Bench) -> Undisturbed:
    """The uninterrupted run, made once for all cases of the script."""
    world = bench.world
    if script not in world.undisturbed:
        output = world.folder / "undisturbed" / script
        began = time.monotonic()
        started = Started(script, bench, output)
        first = None
        while started.process.poll() is None:
            if first is None and output.is_dir() and any(path.name[0] != "." for path in output.iterdir()):
                first = time.monotonic() - began
            time.sleep(0.01)
        finished = started.ended()
        assert finished.code == 0, finished.err
        end = time.monotonic() - began
        world.undisturbed[script] = Undisturbed(output, first or end, end)
        world.note()
    return world.undisturbed[script]


def _difference(script: str, bench: Bench) -> str:
    """How the result files differ from those of the undisturbed run, or an empty text."""
    whole = _undisturbed(script, bench).output
    for pattern in LONG[script].results:
        made, expected = (
            {path.relative_to(folder): path.read_bytes() for path in folder.glob(pattern) if path.is_file()}
            for folder in (bench.output, whole)
        )
        differing = sorted(str(name) for name in made.keys() | expected.keys() if made.get(name) != expected.get(name))
        if differing:
            return f"{', '.join(differing[:3])} differ from those of an undisturbed run"
    hidden = [path.name for path in bench.output.rglob(".*")]
    return f"{hidden[0]} is left over" if hidden else ""


def _again(script: str, bench: Bench) -> Verdict:
    """Run the same command undisturbed, and judge its results."""
    started = Started(script, bench, bench.output)
    finished = started.ended()
    left = started.left()
    if left:
        return wrong(f"a process is left: {left[0]}")
    if finished.code:
        return wrong(f"the same command fails: {' | '.join(finished.lines[-2:])}")
    return judged(finished, same=lambda: _difference(script, bench))


def _signalled(script: str, number: signal.Signals, to_group: bool, seed: int, bench: Bench) -> Verdict:
    """Start the script and send a signal, several times, at random moments between its first file and its end."""
    whole = _undisturbed(script, bench)
    draw = np.random.default_rng([seed, number])
    for _ in range(KILLS):
        started = Started(script, bench, bench.output)
        moment = draw.uniform(0.7 * whole.first, whole.end)
        with suppress(subprocess.TimeoutExpired):
            started.process.wait(moment)
        with suppress(ProcessLookupError):
            (os.killpg if to_group else os.kill)(started.process.pid, number)
        finished = started.ended()
        left = started.left()
        if left:
            started.kill()
            return wrong(f"a process is left: {left[0]}")
        if number != signal.SIGKILL and (finished.code not in STOPPED or "Traceback" in finished.err):
            return wrong(f"{number.name} after {moment:.1f} s: exit {finished.code}: {' | '.join(finished.lines[-2:])}")
    return _again(script, bench)


def _full_disk(script: str, size: int, bench: Bench) -> Verdict:
    """Limit the size of files; the system then answers as for a full disk."""
    _undisturbed(script, bench)
    finished = Started(script, bench, bench.output, size).ended()
    verdict = judged(finished, [str(bench.output)], lambda: _difference(script, bench))
    if not verdict.outcome.is_good:
        return verdict
    again = _again(script, bench)
    return again if not again.outcome.is_good else verdict


def _two(script: str, bench: Bench) -> Verdict:
    """Start two runs at once; each one must do the work or say in one line that the other run does it."""
    _undisturbed(script, bench)
    first = Started(script, bench, bench.output)
    second = Started(script, bench, bench.output)
    for started in (first, second):
        verdict = judged(started.ended(), [str(bench.output)], lambda: "")
        if not verdict.outcome.is_good:
            return verdict
    return _again(script, bench)


if __name__ == "__main__":
    sys.exit(tally(cases(), "make faults", *sys.argv[1:]))
