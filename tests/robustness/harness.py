"""Run a script in this process on one broken input in a scratch folder, and judge the outcome."""

from __future__ import annotations

import io
import logging
import os
import re
import resource
import runpy
import shutil
import signal
import socket
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn
from unittest import mock

from accelerate.state import AcceleratorState, GradientState, PartialState
from PIL import EpsImagePlugin

if TYPE_CHECKING:
    from robustness.world import World

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
LIMIT = 60.0  # seconds that a case may take; cases that might wait for ever have a shorter limit
MEMORY = 2 << 30  # bytes that a case may allocate in addition to what the process has
CRASHED = 70  # the exit code of an unexpected error
_BAR = re.compile(r"\d+%\||\d+\S* ?\[\d\d:\d\d")


class Outcome(Enum):
    """The outcome of a broken input."""

    RIGHT = "right"  # exit 0, and the result is correct
    CLEAR = "clear line"  # exit 1 or 2, and one line that names the file or the key
    TRACEBACK = "traceback"  # another exception, exit 70, or a message that names neither file nor key
    WRONG = "wrong"  # exit 0 with another result, a file elsewhere, foreign code that ran, or a hang

    @property
    def is_good(self) -> bool:
        return self in (Outcome.RIGHT, Outcome.CLEAR)


@dataclass(frozen=True)
class Verdict:
    """An outcome and the reason for it."""

    outcome: Outcome
    why: str = ""


RIGHT = Verdict(Outcome.RIGHT)


def wrong(why: str) -> Verdict:
    return Verdict(Outcome.WRONG, why)


@dataclass(frozen=True)
class Case:
    """One broken input.

    Attributes:
        kind: the row of the table in which it is counted.
        name: says what is broken and how; unique within its kind.
        act: breaks a copy of an input, runs a script on it and judges the outcome.
        limit: seconds; a longer case counts as a hang.
    """

    kind: str
    name: str
    act: Callable[[Bench], Verdict]
    limit: float = LIMIT

    @property
    def id(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class Finished:
    """The end of a script: its exit code, or None if an exception was raised, and its printed text."""

    script: str
    code: int | None
    out: str
    err: str
    raised: str = ""

    @property
    def lines(self) -> list[str]:
        """The lines on stderr, without progress bars."""
        lines = [line.rpartition("\r")[2] for line in self.err.split("\n")]
        return [line for line in lines if line.strip() and not _BAR.search(line)]


class HangError(BaseException):
    """A case took longer than its limit. It is not an Exception, so the code under test does not catch it."""


class Bench:
    """The folder of a case: ``inputs`` to break, ``output`` to write to, and folders that must stay empty."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        self.inputs, self.output, self.canary = folder / "inputs", folder / "output", folder / "canary"
        self.elsewhere = [folder / name for name in ("working", "home", "temporary")]
        self.connections: list[str] = []  # addresses that were requested from the network, and refused
        self.may_download = False
        for path in (self.inputs, *self.elsewhere):
            path.mkdir(parents=True)

    def copy(self, part: str) -> Path:
        """Copy a part of the world, so that the copy can be broken."""
        source = getattr(self.world, part)
        target = self.inputs / source.name
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy2(source, target)
        return target

    def file(self, name: str, content: bytes | str = b"") -> Path:
        """Write an input file with this content."""
        path = self.inputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(self, script: str, *keys: str) -> Finished:
        """Run a script with the settings of the world and further arguments."""
        return run_script(script, "--config", str(self.world.settings), f"output={self.output}", *keys)


def run_script(script: str, *arguments: str) -> Finished:
    """Run ``scripts/<script>.py`` in this process, as from a command line."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True) for _ in range(2)]
    code: int | None = None
    raised = ""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with (
        mock.patch.object(sys, "argv", [f"{script}.py", *arguments]),
        redirect_stdout(streams[0]),
        redirect_stderr(streams[1]),
    ):
        try:
            runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except HangError:
            raise
        except BaseException as error:  # noqa: BLE001, the table counts every exception
            raised = _described(error)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for state in (AcceleratorState, GradientState, PartialState):  # accelerate keeps global state
        state._reset_state()
    out, err = (stream.buffer.getvalue().decode("utf-8", "replace") for stream in streams)
    return Finished(script, code, out, err, raised)


def _described(error: BaseException) -> str:
    """The type of an error, its first line, and where in the package it was raised."""
    said = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "siftvton" in frame.filename]
    return f"{said} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else said


def judged(
    finished: Finished,
    names: Sequence[str] = (),
    same: Callable[[], str] | None = None,
    others: Callable[[], str] = lambda: "",
    refusable: bool = True,
) -> Verdict:
    """The verdict on the end of a script.

    Args:
        names: the message must contain one of these, such as the file or the key.
        same: after exit 0, says how the result differs from the correct one; None: only a refusal is right.
        others: after a refusal, says what is wrong with the results for undamaged inputs.
        refusable: False for an unusual input that must be read.
    """
    if finished.raised or finished.code is None:
        return Verdict(Outcome.TRACEBACK, finished.raised)
    if finished.code == 0:
        difference = "exit 0" if same is None else same()
        return wrong(difference) if difference else RIGHT
    unclear = _unclear(finished, names)
    if unclear:
        return Verdict(Outcome.TRACEBACK, unclear)
    if not refusable:
        return wrong(f"refused: {finished.lines[0]}")
    left = others()
    return wrong(left) if left else Verdict(Outcome.CLEAR, " | ".join(finished.lines))


def _unclear(finished: Finished, names: Sequence[str]) -> str:
    """What is unclear about the message of a refusal, or an empty text. Indented lines and warnings are allowed."""
    if finished.code not in (1, 2):
        return f"exit {finished.code}: {' | '.join(finished.lines[-2:])}"
    heads = [line for line in finished.lines if not line.startswith((" ", "warning: "))]
    if len(heads) != 1 or not heads[0].startswith(f"{finished.script}.py: "):
        return f"{len(heads)} lines on stderr: {' | '.join(heads)[:300]}"
    said = finished.out + finished.err
    if names and not any(name in said for name in names):
        return f"names none of {', '.join(names)}: {heads[0]}"
    return ""


def judged_call(
    call: Callable[[], str],
    errors: type[Exception] | tuple[type[Exception], ...],
    names: Sequence[str] = (),
    refusable: bool = True,
) -> Verdict:
    """The verdict on a call instead of a script; the call returns how its result differs, or raises ``errors``."""
    try:
        difference = call()
    except errors as error:
        said = str(error)
        if "\n" in said.strip() or (names and not any(name in said for name in names)):
            return Verdict(Outcome.TRACEBACK, f"not one line, or names none of {', '.join(names)}: {said}")
        return Verdict(Outcome.CLEAR, said) if refusable else wrong(f"refused: {said}")
    except HangError:
        raise
    except BaseException as error:  # noqa: BLE001, as above
        return Verdict(Outcome.TRACEBACK, _described(error))
    return wrong(difference) if difference else RIGHT


def attempt(case: Case, world: World) -> Verdict:
    """Run a case in its own folder within its time limit, and check for traces outside of its output."""
    folder = Path(tempfile.mkdtemp(prefix="robustness-"))
    try:
        bench = Bench(folder, world)
        with _confined(bench), _bounded_memory():
            try:
                with time_limit(case.limit, folder):
                    verdict = case.act(bench)
            except HangError:
                verdict = wrong(f"still busy after {case.limit:g} seconds")
        traces = _traces(bench)
        return wrong("; ".join(traces)) if traces else verdict
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """The size and the modification time of every file below ``folder``."""
    found = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        found[str(path.relative_to(folder))] = (state.st_size, 0 if path.is_dir() else state.st_mtime_ns)
    return found


def _is_report(path: Path) -> bool:
    """Whether a file is the traceback of an unexpected error, which the script has named."""
    return path.name.startswith("traceback-")


def _traces(bench: Bench) -> list[str]:
    """Descriptions of what happened outside of the output folder."""
    children = [child for path in bench.elsewhere for child in path.iterdir()]
    traces = [f"{child.parent.name} folder holds {child.name}" for child in children if not _is_report(child)]
    if os.path.lexists(bench.canary):
        traces.append("foreign code ran")
    if bench.connections and not bench.may_download:
        traces.append(f"asked the network for {bench.connections[0]}")
    before, after = bench.world.known, tree(bench.world.folder)
    if after != before:
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        traces.append(f"changed {', '.join(changed[:3])}, which must only be read")
        bench.world.note()  # so that no later case is blamed
    return traces


@contextmanager
def _confined(bench: Bench) -> Iterator[None]:
    """Run the block without network, in empty home and temporary folders, with a Ghostscript that leaves a trace."""
    working, home, temporary = bench.elsewhere
    ghostscript = bench.folder / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch '{bench.canary}'\n")
    ghostscript.chmod(0o755)

    def refuse(*address: object, **_: object) -> NoReturn:
        bench.connections.append(str(address[:2]))
        raise OSError("no network in tests")

    environment = {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "TORCH_HOME": str(bench.folder / "torch"),
        "PATH": f"{bench.folder}:{os.environ['PATH']}",
    }
    here = Path.cwd()
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(tempfile, "tempdir", str(temporary)),
        mock.patch.object(socket, "getaddrinfo", refuse),
        mock.patch.object(socket.socket, "connect", refuse),
        mock.patch.multiple(EpsImagePlugin, gs_binary=str(ghostscript), gs_windows_binary=None),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # warnings of libraries are not messages of the script
        logging.disable()
        os.chdir(working)
        try:
            yield
        finally:
            os.chdir(here)
            logging.disable(logging.NOTSET)


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """Make too much memory an error inside the block, before the machine runs out of memory."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def time_limit(seconds: float, folder: Path) -> Iterator[None]:
    """Raise :class:`HangError` after ``seconds``; then also open FIFOs in ``folder``, to free code that waits there."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    release = threading.Timer(seconds + 0.5, _open_fifos, [folder])  # for code that does not react to signals
    release.start()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        release.cancel()


def _open_fifos(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_fifo():
            with suppress(OSError):
                os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
