"""Locks that allow only one run at a time to write to an output folder."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from siftvton.errors import InputError, UsageError, first_line

LOCK = ".siftvton.lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # errors of file systems without flock
# The variables with the process's number and the number of processes, for each launcher that accelerate knows.
LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
)


def is_main_process() -> bool:
    """Whether this process is the one that writes to the run's output folder, by the launcher's variables."""
    for rank, size in LAUNCHERS:
        if os.environ.get(rank) and os.environ.get(size, "1") not in ("", "1"):
            return os.environ[rank] == "0"
    return True


@contextmanager
def only_writer(folder: str | Path, name: str = LOCK) -> Iterator[None]:
    """Hold the lock of an output folder; a missing folder is made.

    The system releases the lock when this process ends in any way. At the end, the lock file is removed, and so is a
    folder that was made here and stayed empty. On a file system without locks, a warning is printed and no lock held.

    Args:
        folder: the output folder.
        name: the name of the lock file in the folder.

    Raises:
        InputError: another process holds the lock.
        UsageError: a file is in the place of the folder.
        OSError: the folder cannot be made or written to.
    """
    from filelock import FileLock, Timeout  # imported here to keep --help quick

    folder = Path(folder)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"output={folder}: a file is in the place of a folder; name another output") from error
    path = folder.resolve() / name
    lock = FileLock(path, fallback_to_soft=False)  # a soft lock would outlive a killed owner
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"{folder}: is being written by another run{_owner(path)}; wait until it ends, or name another output"
        ) from error
    except OSError as error:
        _remove(made)
        if error.errno not in NO_LOCKS:
            raise
        print(
            f"warning: {folder}: this file system has no locks ({first_line(error)}); do not start a second run there",
            file=sys.stderr,
        )
        yield
        return
    try:
        path.write_text(f"process {os.getpid()} on host {socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # an error of the run itself matters more
            path.unlink(missing_ok=True)  # before the release: filelock ignores a lock on a file that is gone
        lock.release()
        _remove(made)


def _owner(lock: Path) -> str:
    """Return the note that a lock's holder left in its file, in brackets; empty if there is none."""
    try:
        note = lock.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return f" ({note})" if note.isprintable() and note else ""


def _remove(folders: list[Path]) -> None:
    """Remove the empty ones of ``folders``, which are ordered from the innermost outwards."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
