"""One writer for each output folder."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from siftvton.errors import InputError, UsageError, first_line

LOCK = ".siftvton.lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # of file systems without flock
# A process's number and how many there are, by the launchers that accelerate knows.
LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
)


def is_main_process() -> bool:
    """Whether this is the one process of a run that writes into its output folder, by the launcher's variables."""
    for rank, size in LAUNCHERS:
        if os.environ.get(rank) and os.environ.get(size, "1") not in ("", "1"):
            return os.environ[rank] == "0"
    return True


@contextmanager
def only_writer(folder: str | Path, name: str = LOCK) -> Iterator[None]:
    """Hold the lock of an output folder, which is made where it is missing.

    The system releases the lock when this process ends, however it ends. Afterwards the folder holds nothing of it,
    and a folder that stayed empty is removed again. A file system without locks gets a warning, and no lock.

    Args:
        name: of the lock's file in the folder.

    Raises:
        InputError: another process holds it.
        UsageError: a file is in the place of the folder.
        OSError: the folder cannot be made or written to.
    """
    from filelock import FileLock, Timeout  # here: --help does without it

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
            f"{folder}: is being written by another run{_owner(path)}; wait for its end, or name another output"
        ) from error
    except OSError as error:
        _remove(made)
        if error.errno not in NO_LOCKS:
            raise
        print(
            f"warning: {folder}: this file system has no locks ({first_line(error)}); start no second run there",
            file=sys.stderr,
        )
        yield
        return
    try:
        path.write_text(f"process {os.getpid()} on host {socket.gethostname()}\n", encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # an error of the run itself is the one to tell
            path.unlink(missing_ok=True)  # while it is held: filelock takes a file that is gone for no lock
        lock.release()
        _remove(made)


def _owner(lock: Path) -> str:
    """Who holds a lock, in brackets, as it noted itself."""
    try:
        note = lock.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return f" ({note})" if note.isprintable() and note else ""


def _remove(folders: list[Path]) -> None:
    """Remove those of the folders, innermost first, that are empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
