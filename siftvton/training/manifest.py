"""Names and manifests of checkpoints; a manifest records the run that wrote a checkpoint and a digest of each file."""

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
    """The record of a checkpoint.

    Attributes:
        run: the identity of the run. update: the number of updates before the checkpoint was written.
        files: name -> [size in bytes, SHA-256].
    """

    run: str
    update: int
    files: dict[str, list[Any]]


class Damaged(Exception):
    """The files of a checkpoint have changed since they were written; the message says which."""


def name_of(update: int) -> str:
    """The name of the checkpoint after ``update`` updates."""
    return f"update-{update:07d}"


def update_of(checkpoint: Path) -> int:
    """The number of updates in the name of a checkpoint."""
    return int(checkpoint.name.partition("-")[2])


def saved(output: Path) -> list[Path]:
    """The checkpoints of a run, oldest first.

    Raises:
        OSError: the folder exists but cannot be read.
    """
    folder = output / "checkpoints"
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        if folder.is_symlink():  # a link to a disk that is not mounted now
            raise
        return []
    return sorted((folder / name for name in names if NAME.fullmatch(name)), key=update_of)


def seal(folder: Path, run: str, update: int) -> None:
    """Write the manifest of the files in ``folder``."""
    paths = sorted(folder.iterdir())
    files = {path.name: [path.stat().st_size, digest] for path, digest in zip(paths, _digests(paths), strict=True)}
    content = asdict(Manifest(run, update, files))
    (folder / MANIFEST).write_text(json.dumps({**content, "digest": _digest(content)}) + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest | None:
    """The manifest of a checkpoint; None if there is none, as in checkpoints of earlier versions.

    Raises:
        Damaged: the manifest has changed, or the folder holds a pipe or a device, which could block for ever.
        InputError: the manifest cannot be read at the moment.
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
        raise Damaged("it is not a folder") from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{MANIFEST} is damaged") from error
    if not isinstance(content, dict) or content.pop("digest", None) != _digest(content):
        raise Damaged(f"{MANIFEST} is damaged")
    return Manifest(**content)


def verify(folder: Path, manifest: Manifest) -> None:
    """Compare the files of a checkpoint with its manifest.

    Raises:
        Damaged: a file is missing or differs. InputError: a file cannot be read at the moment.
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
            raise Damaged(f"{path.name} has changed since it was written")


def _digests(paths: Sequence[Path]) -> list[str]:
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter lock
        return list(pool.map(sha256, paths))


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Separate missing files, which mean damage, from files that only cannot be read at the moment.

    Raises:
        InputError: a failing disk or connection, too many open files, too little memory, or no permission.
        OSError: one of ``ABSENT``.
    """
    try:
        yield
    except ABSENT:
        raise
    except (OSError, MemoryError) as error:
        raise InputError(
            f"{folder}: cannot be read at the moment ({first_line(error)}); nothing was changed; run the same command "
            "again, or choose an earlier checkpoint by resume=update-..."
        ) from error


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
