"""Outputs that would mix with inputs or replace them are refused."""

from collections.abc import Iterable
from pathlib import Path

from siftvton.errors import UsageError


def require_outside(output: str | Path, folders: Iterable[str | Path], given: str) -> None:
    """Refuse an output folder that is one of the input's folders, or is in one of them.

    Args:
        output: the output folder.
        folders: the folders that hold the input's files.
        given: the key and the value that name the input, for the message.

    Raises:
        UsageError: results would mix with the input's files.
    """
    place = Path(output).resolve()
    for folder in folders:
        if place.is_relative_to(Path(folder).resolve()):
            raise UsageError(
                f"output={output}: results would mix with the files of {given} in {folder}; use another folder"
            )


def require_kept(source: str | Path, written: Iterable[str | Path], given: str) -> None:
    """Refuse weights to start from that the run itself would replace.

    Args:
        source: the weights.
        written: the folders that the run writes.
        given: the key and the value that name the weights, for the message.

    Raises:
        UsageError: the weights are one of these folders.
    """
    for folder in written:
        if Path(source).resolve() == Path(folder).resolve():
            raise UsageError(f"{given}: training would replace this folder; use another output")
