"""Find a model's files on this machine or on the hub, and record which were used."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from huggingface_hub import constants
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from siftvton.errors import InputError, first_line
from siftvton.files import is_file, read_json, sha256, write_json
from siftvton.hub import HubError, download, on_hub
from siftvton.prepare.published import PUBLISHED, licence_of
from siftvton.weight_files import require_regular, shown

RECORD = "models.json"

# What the libraries raise for a file, or a configuration beside it, that is damaged or of another model.
_BROKEN = (
    *(OSError, ValueError, RuntimeError, TypeError, LookupError, AttributeError, ImportError, ArithmeticError),
    *(SafetensorError, StrictDataclassError),
)


class MissingModelError(InputError):
    """A model is switched off, or its files are not on this machine and cannot be downloaded."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model on this machine.

    Attributes:
        part: the model's key in the section ``models``.
        source: the key's value.
        revision: the commit on the hub; None for local files.
        paths: the files.
    """

    part: str
    source: str
    revision: str | None
    paths: tuple[Path, ...]

    @property
    def key(self) -> str:
        """The key and its value, for messages."""
        return f"models.{self.part}={self.source}"

    @property
    def folder(self) -> Path:
        return self.paths[0].parent


def find(part: str, source: str | None, names: tuple[str, ...] = ()) -> ModelFiles:
    """Find the files of a model; download those that are not on this machine.

    Args:
        part: the model's key in the section ``models``.
        source: the key's value.
        names: the files required in a folder or repository; empty: the source itself names the one file.

    Raises:
        MissingModelError: the model is switched off, or its files cannot be had.
        InputError: a local file is missing or is not a regular file.
    """
    if source is None:
        raise MissingModelError(
            f"models.{part}=null: there is no model that finds {PUBLISHED[part].task}; give a path or a repository"
        )
    path = Path(source)
    if path.exists() or path.is_symlink():
        paths = [path / name for name in names] or [path]
        try:
            return ModelFiles(part, source, None, tuple(require_regular(each) for each in paths))
        except InputError as error:
            raise InputError(f"models.{part}: {error}") from error
    return _fetched(part, source, names)


def _fetched(part: str, source: str, names: tuple[str, ...]) -> ModelFiles:
    try:
        named = on_hub(source)
    except InputError as error:
        raise MissingModelError(f"models.{part}: {error}") from error
    if named is None or bool(named.file) == bool(names):
        form = "owner/name@revision" if names else "hf://owner/name@revision/file"
        raise MissingModelError(
            f"models.{part}={source}: no such file or folder; for the Hugging Face hub, give {form}"
        )
    wanted = [replace(named, file=name) for name in names] or [named]
    try:
        paths = tuple(download(each) for each in wanted)
    except HubError as error:
        files = ", ".join(str(each.file) for each in wanted)
        place = "a folder and use models.{}=<folder>" if names else "any place and use models.{}=<file>"
        raise MissingModelError(
            f"models.{part}={source}: is not on this machine, and {error}; required: {files} from {named.address}, "
            f"kept in {constants.HF_HUB_CACHE}; or put a copy into {place.format(part)}"
        ) from error
    return ModelFiles(part, source, _commit(paths[0], str(wanted[0].file)), paths)


def _commit(path: Path, file: str) -> str:
    """The commit of a file in the hub's cache, whose path is …/snapshots/<commit>/<file>."""
    return path.parents[len(Path(file).parts) - 1].name


@contextmanager
def broken(files: ModelFiles, task: str) -> Iterator[None]:
    """Turn the libraries' errors into an error of one line; the GPU's lack of memory passes.

    Args:
        task: what is done in the block, as a participle after "cannot be".

    Raises:
        InputError: a library raised an error.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except _BROKEN as error:
        raise InputError(
            f"{files.key}: cannot be {task} ({shown(first_line(error))}); download or copy its files again, or give "
            f"another {PUBLISHED[files.part].network} model"
        ) from error


def record(folder: Path, used: Iterable[ModelFiles]) -> None:
    """Write which files were used, with revision, SHA-256 and licence, to ``models.json`` in ``folder``.

    Models that the file lists already, from an earlier start of the same command, stay.

    Raises:
        InputError: the file exists and is damaged, or cannot be written.
    """
    path = folder / RECORD
    known = read_json(path) if is_file(path) else {}
    if not isinstance(known, dict):
        raise InputError(f"{path}: is not a record of models; delete the file")
    for files in used:
        known[files.part] = {
            "source": files.source,
            "revision": files.revision,
            "licence": licence_of(files.part, files.source),
            "sha256": {each.name: sha256(each) for each in files.paths},
        }
    write_json(path, known)
