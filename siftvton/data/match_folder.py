"""A folder of match files: how they are named, and which frame they were measured in."""

from pathlib import Path

from siftvton.errors import UsageError
from siftvton.files import is_file, read_bytes
from siftvton.plain_yaml import parse

MATCHES_ENDING = "_sift_matches.json"
MATCHES_NOTE = "preprocess_sift.yaml"  # the configuration that made the folder


def matches_path(folder: str | Path, person: str) -> Path:
    """The correspondences of the person picture ``person`` in a folder of them."""
    return Path(folder) / f"{Path(person).stem}{MATCHES_ENDING}"


def require_frame(folder: str | Path, frame: tuple[int, int]) -> None:
    """Look at the configuration that ``preprocess_sift.py`` left beside its matches, where it is there.

    Raises:
        UsageError: they were measured in another frame than ``frame``, (height, width) in pixels.
    """
    note = Path(folder) / MATCHES_NOTE
    if not is_file(note):
        return  # the authors' files, or those of another tool
    try:
        content = parse(read_bytes(note).decode())
        found = tuple(int(side) for side in content["data"]["matches_frame"])
    except (ValueError, LookupError, TypeError):  # broken, which preprocess_sift.py says itself
        return
    if found != tuple(frame):
        raise UsageError(
            f"data.matches_frame={list(frame)}: the matches in {folder} were measured in {list(found)}, says "
            f"{note.name}; use data.matches_frame={list(found)}"
        )
