"""What a checkpoint is called, and its manifest: which run it belongs to, and the digest of each of its files."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from siftvton.errors import InputError, first_line
from siftvton.files import sha256

MANIFEST = "manifest.json"
NAME = re.compile(r"update-(\d{7,})")
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint was written as.

    Attributes:
        run: the run's identity. update: after which the checkpoint was written.
        files: name -> [bytes, SHA-256].
    """

    run: str
    update: int
    files: dict[str, list[Any]]


class Damaged(Exception):
    """A checkpoint's files are not those that were written; the message says which."""


def name_of(update: int) -> str:
    """The name of the checkpoint after so many updates."""
    return f"update-{update:07d}"


def update_of(checkpoint: Path) -> int:
    """After how many updates a checkpoint was written, by its name."""
    return int(checkpoint.name.partition("-")[2])


def saved(output: Path) -> list[Path]:
    """A run's checkpoints, oldest first.

    Raises:
        OSError: the folder is there, but cannot be read.
    """
    folder = output / "checkpoints"
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        if folder.is_symlink():  # to a disk that is not there now
            raise
        return []
    return sorted((folder / name for name in names if NAME.fullmatch(name)), key=update_of)


def seal(folder: Path, run: str, update: int) -> None:
    """Write the manifest of the files that lie in ``folder``."""
    paths = sorted(folder.iterdir())
    files = {path.name: [path.stat().st_size, digest] for path, digest in zip(paths, _digests(paths), strict=True)}
    content = asdict(Manifest(run, update, files))
    (folder / MANIFEST).write_text(json.dumps({**content, "digest": _digest(content)}) + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest | None:
    """The folder's manifest; None where there is none, as in checkpoints of earlier versions.

    Raises:
        Damaged: it is not as it was written, or the folder holds a pipe or a device, which could block for ever.
        InputError: it cannot be read now.
    """
    try:
        with reading(folder):
            odd = [path.name for path in folder.iterdir() if path.exists() and not (path.is_file() or path.is_dir())]
            if odd:
                raise Damaged(f"{odd[0]} is a pipe, a socket or a device")
            content = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise Damaged("is not a folder") from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{MANIFEST} is damaged") from error
    if not isinstance(content, dict) or content.pop("digest", None) != _digest(content):
        raise Damaged(f"{MANIFEST} is damaged")
    return Manifest(**content)


def verify(folder: Path, manifest: Manifest) -> None:
    """Compare the files with the manifest.

    Raises:
        Damaged: a file is missing or differs. InputError: a file cannot be read now.
    """
    paths = [folder / name for name in manifest.files]
    try:
        with reading(folder):
            sizes = [path.stat().st_size for path in paths]
            found = [list(one) for one in zip(sizes, _digests(paths), strict=True)]
    except ABSENT as error:
        raise Damaged(f"{Path(error.filename).name} is missing") from error
    for path, one in zip(paths, found, strict=True):
        if one != manifest.files[path.name]:
            raise Damaged(f"{path.name} is not as it was written")


def _digests(paths: Sequence[Path]) -> list[str]:
    with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter
        return list(pool.map(sha256, paths))


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Tell a file that is not there from one that cannot be read at the moment, which is no damage.

    Raises:
        InputError: a failing disk or connection, too many open files, too little memory, no permission.
        OSError: one of ``ABSENT``.
    """
    try:
        yield
    except ABSENT:
        raise
    except (OSError, MemoryError) as error:
        raise InputError(
            f"{folder}: cannot be read at the moment ({first_line(error)}); nothing was changed: run the same command "
            "again, or name an earlier checkpoint by resume=update-..."
        ) from error


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
