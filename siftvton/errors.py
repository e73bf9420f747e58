"""Errors that end a command with one line instead of a traceback, and the words of such lines."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(Exception):
    """A file or its content is wrong. The message says which file, what was found and what to do.

    The command exits with 1.
    """

    exit_code = 1


class UsageError(InputError):
    """The command line or the configuration is wrong. The command exits with 2."""

    exit_code = 2


class DivergedError(InputError):
    """A loss or a gradient became NaN or infinite in training. The command exits with 1."""


@contextmanager
def naming(key: str, value: object) -> Iterator[None]:
    """Put a configuration key and its value before the message of an error, so that the user sees which key to change.

    Raises:
        InputError: as in the block, of the same class.
    """
    try:
        yield
    except InputError as error:
        said = str(error)
        if not said.startswith(f"{key}="):
            said = f"{key}={said}" if said.startswith(f"{value}: ") else f"{key}={value}: {said}"
        raise type(error)(said) from error


REMEDIES = {
    errno.ENOSPC: "free some space, or name an output on another disk",
    errno.EDQUOT: "free some of your quota, or name an output on another disk",
    errno.EFBIG: "raise the limit (ulimit -f), or name an output on another file system",
    errno.EROFS: "name an output that can be written to",
    errno.EACCES: "change its permissions, or name another path",
    errno.EPERM: "change its permissions, or name another path",
    errno.ENAMETOOLONG: "use shorter names",
    errno.ENOTDIR: "a file is in the place of a folder; name another path",
    errno.EISDIR: "a folder is in the place of a file; name another path",
    errno.EEXIST: "this path already exists; name another path",
    errno.ENOENT: "check the path; another program may have removed it",
    errno.ELOOP: "a link leads back to itself; name another path",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower workers",
    errno.ENFILE: "raise the system's limit of open files, or lower workers",
    errno.ENOMEM: "free some memory, or lower batch_size or workers",
    errno.EIO: "check the disk or the network share",
    errno.ESTALE: "check the network share, then run the same command again",
    errno.ETIMEDOUT: "check the network, then run the same command again",
    errno.ENODEV: "check that the disk is mounted",
    errno.ETXTBSY: "end the program that uses it",
    errno.EBUSY: "end the program that uses it",
}
_WORKER = re.compile(r"Caught (\w+) in .*\.\nOriginal Traceback")  # how PyTorch passes on a worker's error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if it has no message."""
    return words(error).partition("\n")[0] or type(error).__name__


def words(error: BaseException) -> str:
    """Return an error's message; if a data loader's worker raised it, the worker's message without the traceback."""
    text = str(error).strip()
    caught = _WORKER.match(text)
    if caught is None:
        return text
    starts = list(re.finditer(rf"^(?:\w+\.)*{caught[1]}(?:: |$)", text, re.MULTILINE))
    return text[starts[-1].end() :].strip() if starts else text


def system_line(error: OSError, output: Path | None) -> str | None:
    """Return the path, the system's message and a remedy as one line; None for an error without an error number.

    Args:
        error: the system's error.
        output: the path to name if the error has none, as for a full disk.
    """
    number, said, path = error.errno, error.strerror, error.filename
    if number is None:  # raised by a data loader's worker, which passes on only the text
        carried = re.fullmatch(r"\[Errno (\d+)\] (.*?)(?:: '(.*)')?", first_line(error))
        if carried is None:
            return None
        number, said, path = int(carried[1]), carried[2], carried[3]
    named = os.fsdecode(path) if isinstance(path, (str, bytes)) else output
    reason = (
        f"{said or 'the system refuses this'}; {REMEDIES.get(number, 'correct this, then run the same command again')}"
    )
    return f"{named}: {reason}" if named else reason
