"""The command line of all commands: ``--config``, ``--dry-run``, ``--help``, ``key=value`` and one-line errors."""

import argparse
import difflib
import os
import platform
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from siftvton.commands import NAMES, Command, command, schemas
from siftvton.errors import InputError, UsageError, first_line, system_line, words
from siftvton.key_values import ROOT
from siftvton.locks import is_main_process
from siftvton.options import allowed_values, as_typed, keys
from siftvton.settings import load_configuration, to_yaml, values

C = TypeVar("C")

CONFIGS = ROOT / "configs"
DEBUG = "SIFTVTON_DEBUG"  # environment variable; 1: show the traceback of an error
UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h
CLOSED_PIPE = 141  # the code that shells give a program ended by SIGPIPE: the work may not be done
MEMORY_KEYS = ("batch_size", "workers", "jobs", "height", "width", "matches_frame", "crop")
MEMORY_WORDS = ("out of memory", "insufficient memory", "not enough memory", "allocate memory", "bad_alloc")
PEER_WORDS = ("closed by peer", "reset by peer", "Timed out waiting", "Broken pipe")  # gloo's; NCCL has an error class
WORKER_WORDS = ("DataLoader worker", "shared memory")


def main() -> NoReturn:
    """Run the console command ``siftvton <command> …``."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h"):
        titles = {each: (command(each).schema.__doc__ or "").splitlines()[0] for each in NAMES}
        width = max(map(len, NAMES))
        lines = [f"  {each:{width}}  {title}" for each, title in titles.items()]
        _print("\n".join(["usage: siftvton <command> [--help] [key=value ...]", "", "commands:", *lines]))
        sys.exit(0)
    if name == "--version":
        _print(f"siftvton {version('siftvton')}")
        sys.exit(0)
    if name not in NAMES:
        likeliest = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.0)[0]
        _end(f"siftvton: {name} is not a command; did you mean {likeliest}? siftvton --help lists all commands", 2)
    run(name, sys.argv[2:], f"siftvton {name}")


def load(schema: type[C], path: str | Path, overrides: Sequence[str] = ()) -> C:
    """Load one command's configuration from a file, which may contain keys of other commands, and from overrides."""
    return load_configuration(schema, path, overrides, schemas())


def run(chosen: str | Command, arguments: Sequence[str] | None = None, program: str | None = None) -> NoReturn:
    """Parse the command line, build the configuration, call the command's function with it and exit.

    Only one run at a time holds the lock of the output folder; of a run with several processes, the main one does.

    Args:
        chosen: a command, or its name.
        arguments: the command line's arguments; None: those of this process.
        program: the program's name in messages; None: the script's name.
    """
    chosen = command(chosen) if isinstance(chosen, str) else chosen
    schema, default = chosen.schema, chosen.default
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that lacks a character shows a replacement
    parser = _Parser(program, add_help=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--config", default=str(CONFIGS / default))
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    written: Path | None = None
    try:
        _refuse_dashes(sys.argv[1:] if arguments is None else arguments, schema)
        given = parser.parse_intermixed_args(arguments)
        config: Any = load(schema, given.config, given.overrides)
        if given.help:
            _print(_help(schema, config, parser.prog, default))
        elif given.dry_run:
            counted = chosen.summary(config).splitlines() if chosen.summary is not None else []
            _print(to_yaml(config) + "\n".join(f"# {line}" for line in counted))
        else:
            written = chosen.output(config)
            with chosen.lock(written) if is_main_process() else nullcontext(), _ctrl_c_kept():
                said = _call(chosen.function, config)
            _print(said or "")
    except KeyboardInterrupt:
        _end(f"{parser.prog}: stopped; run the same command again to finish", 130)
    except UsageError as error:  # the typed text may contain line breaks
        _end(f"{parser.prog}: {' '.join(words(error).splitlines())}", error.exit_code)
    except InputError as error:
        _end(f"{parser.prog}: {words(error)}", error.exit_code)
    except Exception as error:  # the only place that handles unexpected errors
        if isinstance(error, BrokenPipeError) and hasattr(select, "poll") and _nobody_reads():
            _end("", CLOSED_PIPE)
        if os.environ.get(DEBUG) == "1":
            raise
        line = _foreseen(error, schema, written)
        if line is not None:
            _end(f"{parser.prog}: {line}", 1)
        where = _write_traceback(error, written)
        _end(
            f"{parser.prog}: unexpected {type(error).__name__}: {first_line(error)}; {where}; {DEBUG}=1 shows it",
            UNEXPECTED,
        )
    sys.exit(0)


def _call(function: Callable[[Any], str | None], config: Any) -> str | None:
    from siftvton.memory import keep_freed_memory

    keep_freed_memory()
    return function(config)


@contextmanager
def _ctrl_c_kept() -> Iterator[None]:
    """Raise KeyboardInterrupt after Ctrl-C, even if the interrupted library raised another error because of it."""
    made = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal made
        made = True
        signal.default_int_handler(number, frame)

    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a background process ignores SIGINT
    if not default or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as error:
        if made:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _refuse_dashes(arguments: Sequence[str], schema: type) -> None:
    """
    Raises:
        UsageError: an argument is a key with dashes in front of it.
    """
    for argument in arguments:
        key, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and key in keys(schema):
            raise UsageError(f"{argument} is not an option; write {key}={value if equals else '…'}, without dashes")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --help lists all options and keys")


def _foreseen(error: Exception, schema: type, output: Path | None) -> str | None:
    """Return one line with a remedy for an error of the system, of memory or of a missing package; None for others."""
    kinds = {kind.__name__ for kind in type(error).__mro__}  # names, so that PyTorch need not be imported
    said = first_line(error)
    if "OutOfMemoryError" in kinds or isinstance(error, MemoryError) or _is_about(error, MEMORY_WORDS):
        lower = [key for key in keys(schema) if key.rpartition(".")[2] in MEMORY_KEYS]
        remedy = f"lower {', '.join(lower[:-1])} or {lower[-1]}" if len(lower) > 1 else "free some memory"
        return f"out of memory ({said}); {remedy}"
    if _is_about(error, WORKER_WORDS):
        return f"a data loading process ended ({said}), usually because memory ran out; lower workers, or set it to 0"
    if "DistError" in kinds or _is_about(error, PEER_WORDS):
        return (
            f"another process of this run has ended or does not answer ({said}); see its last lines for the reason, "
            "then run the same command again: it continues from what is written"
        )
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("siftvton"):
        return f"the package {error.name.partition('.')[0]} is not installed; README.md says how to install everything"
    return system_line(error, output) if isinstance(error, OSError) else None


def _is_about(error: Exception, said: tuple[str, ...]) -> bool:
    """Whether a library's general error, such as ``RuntimeError`` or ``cv2.error``, contains one of these words."""
    general = isinstance(error, RuntimeError) or type(error).__module__ == "cv2"
    return general and any(each.lower() in str(error).lower() for each in said)


def _write_traceback(error: Exception, output: Path | None) -> str:
    """Write the traceback into the output folder, or else into the temporary folder; return where it is."""
    text = "".join(traceback.format_exception(error))
    text = f"command: {sys.argv}\nfolder: {os.environ.get('PWD')}\npython: {platform.python_version()}\n\n{text}"
    for folder in (output, None):
        if folder is not None and not folder.is_dir():
            continue
        with suppress(OSError):
            handle, path = tempfile.mkstemp(prefix="traceback-", suffix=".txt", dir=folder)
            with open(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            return f"the traceback is in {path}"
    return "the traceback could not be written"


def _print(text: str) -> None:
    """Print and flush, so that an error of standard output is raised here, with its name."""
    try:
        print(text.rstrip("\n"), end="\n" if text else "", flush=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that nobody reads any more, e.g. after ``| head`` has ended."""
    watched = select.poll()
    watched.register(sys.stdout, 0)
    gone = any(event & select.POLLERR for _, event in watched.poll(0))
    if gone:  # Python flushes once more when it exits, and that would fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _end(line: str, code: int) -> NoReturn:
    with suppress(OSError):
        if line:
            print(line, file=sys.stderr)
    sys.exit(code)


def _help(schema: type, config: Any, program: str, default: str) -> str:
    lines = [
        schema.__doc__ or "",
        "",
        f"usage: {program} [--config FILE] [--dry-run] [key=value ...]",
        "",
        f"  --config FILE  read keys from this YAML file; default: configs/{default}",
        "  --dry-run      print the resolved configuration and do nothing else",
        "",
        "Relative paths start from the current folder; configs/ and checkpoints/toy are found from every folder. In a",
        "path, ~ and environment variables ($NAME, ${NAME}) are replaced, and $$ stands for a plain $.",
        "",
        "keys, with their values in this configuration:",
    ]
    for key, value, entry in values(config):
        allowed = f"; allowed: {found}" if (found := allowed_values(entry)) else ""
        lines.append(f"  {key}={as_typed(value)}\n      {entry.metadata['help']}{allowed}")
    return "\n".join(lines)
