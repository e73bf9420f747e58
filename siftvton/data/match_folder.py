"""Folders of match files: the names of the files, and the frame in which the matches were measured."""

from pathlib import Path

from siftvton.errors import UsageError
from siftvton.files import is_file, read_bytes
from siftvton.plain_yaml import parse

MATCHES_ENDING = "_sift_matches.json"
MATCHES_NOTE = "preprocess_sift.yaml"  # the configuration that made the folder


def matches_path(folder: str | Path, person: str) -> Path:
    """Return the path of the match file of the person picture ``person`` in ``folder``."""
    return Path(folder) / f"{Path(person).stem}{MATCHES_ENDING}"


def require_frame(folder: str | Path, frame: tuple[int, int]) -> None:
    """Check the frame by the configuration that ``preprocess_sift.py`` saved beside its matches, if it exists.

    Args:
        folder: the folder of the match files.
        frame: the expected (height, width), pixels.

    Raises:
        UsageError: the matches were measured in another frame.
    """
    note = Path(folder) / MATCHES_NOTE
    if not is_file(note):
        return  # the authors' files, or files of another tool
    try:
        content = parse(read_bytes(note).decode())
        found = tuple(int(side) for side in content["data"]["matches_frame"])
    except (ValueError, LookupError, TypeError):  # a broken file, which preprocess_sift.py reports itself
        return
    if found != tuple(frame):
        raise UsageError(
            f"data.matches_frame={list(frame)} is not allowed, since {note} says that its matches were measured in "
            f"{list(found)}; use data.matches_frame={list(found)}"
        )
