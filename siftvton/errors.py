"""What ends a script with one line instead of a traceback."""

import errno
import os
import re
from pathlib import Path


class InputError(Exception):
    """A file or its content is not what it has to be; the message names it, what was found, what is allowed.

    Scripts exit with 1.
    """

    exit_code = 1


class UsageError(InputError):
    """A command line or a configuration is not what it has to be. Scripts exit with 2."""

    exit_code = 2


class DivergedError(InputError):
    """Training met a loss or a gradient that is NaN or infinite. Scripts exit with 1."""


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
    errno.EEXIST: "something else is in its place; name another path",
    errno.ENOENT: "something removed it, or the path is wrong",
    errno.ELOOP: "a link leads back to itself; name another path",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower workers",
    errno.ENFILE: "raise the system's limit of open files, or lower workers",
    errno.ENOMEM: "free some memory, or lower batch_size or workers",
    errno.EIO: "check the disk or the network share",
    errno.ESTALE: "check the network share, then start the same command again",
    errno.ETIMEDOUT: "check the network, then start the same command again",
    errno.ENODEV: "check that the disk is mounted",
    errno.ETXTBSY: "end the program that uses it",
    errno.EBUSY: "end the program that uses it",
}
_WORKER = re.compile(r"Caught (\w+) in .*\.\nOriginal Traceback")  # how PyTorch hands a worker's error on


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return words(error).partition("\n")[0] or type(error).__name__


def words(error: BaseException) -> str:
    """What an error says; of a data loader's worker, what the worker's own error said, without its traceback."""
    text = str(error).strip()
    caught = _WORKER.match(text)
    if caught is None:
        return text
    starts = list(re.finditer(rf"^(?:\w+\.)*{caught[1]}(?:: |$)", text, re.MULTILINE))
    return text[starts[-1].end() :].strip() if starts else text


def system_line(error: OSError, output: Path | None) -> str | None:
    """The path, what the system says, and a remedy; None where the system gave no number.

    Args:
        output: what to name where the error names no path, as that of a full disk does.
    """
    number, said, path = error.errno, error.strerror, error.filename
    if number is None:  # a worker's
        carried = re.fullmatch(r"\[Errno (\d+)\] (.*?)(?:: '(.*)')?", first_line(error))
        if carried is None:
            return None
        number, said, path = int(carried[1]), carried[2], carried[3]
    named = os.fsdecode(path) if isinstance(path, (str, bytes)) else output
    reason = (
        f"{said or 'the system refuses'}; {REMEDIES.get(number, 'correct this, then start the same command again')}"
    )
    return f"{named}: {reason}" if named else reason
