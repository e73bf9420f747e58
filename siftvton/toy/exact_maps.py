"""The toy world's exact maps: which point of the garment's picture each pixel of a photo shows."""

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from siftvton.correspondence import Correspondences, Frame, read_matches
from siftvton.data.layouts.base import Split
from siftvton.data.match_folder import matches_path, require_frame
from siftvton.data.pairs import Pair
from siftvton.errors import InputError, first_line
from siftvton.evaluation.attention_error import Known, always
from siftvton.files import open_file
from siftvton.supervision.reference import Grid

EXACT_MAP = "exact_map"  # the folder beside VITON-HD's; <id>.npz in it


def read_map(path: Path) -> np.ndarray:
    """An exact map of the toy world, (height, width, 2)."""
    try:
        with open_file(path) as file, np.load(file, allow_pickle=False) as content:
            places = content["person_to_garment"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not an exact map of the toy world ({first_line(error)}); make it again") from error
    if places.ndim != 3 or places.shape[2] != 2 or not places.size or not np.issubdtype(places.dtype, np.floating):
        raise InputError(
            f"{path}: has shape {places.shape} and type {places.dtype}; (height, width, 2) of floats is required"
        )
    known = places[~np.isnan(places).any(axis=2)]
    if ((known < -1) | (known > places.shape[1::-1])).any():
        raise InputError(f"{path}: leads out of the garment's picture; make the map again")
    return places


def exact_positions(person_to_garment: np.ndarray, grid: Grid) -> Correspondences:
    """The places that the middles of a grid's cells show, by an exact map (height, width, 2); NaN: none."""
    height, width = person_to_garment.shape[:2]
    rows, columns = (
        ((np.arange(cells) + 0.5) * size / cells).astype(int) for cells, size in zip(grid, (height, width), strict=True)
    )
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    places = person_to_garment[y, x].astype(np.float64)
    known = np.isfinite(places).all(axis=1)
    return Correspondences(np.stack([x, y], axis=1)[known].astype(np.float64), places[known], (height, width))


def known_places(split: Split, matches: str | None, frame: Frame) -> Callable[[Pair], Known]:
    """Where a pair's query cells should look: by its exact map where the data have one, else by its matches.

    Args:
        matches: folder of match files; None: the exact maps, or else the split's own folder.
        frame: (height, width) that the matches are measured in, pixels.

    Raises:
        InputError: there is neither.
        UsageError: the matches were measured in another frame.
    """
    exact = split.folder / EXACT_MAP
    if matches is None and exact.is_dir():
        return lambda pair: partial(exact_positions, read_map(exact / f"{pair.person_id}.npz"))
    folder = Path(matches) if matches else split.matches
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of matches; run scripts/preprocess_sift.py data.split=… first")
    require_frame(folder, frame)
    return lambda pair: always(read_matches(matches_path(folder, pair.person), frame))
