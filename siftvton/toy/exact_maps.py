"""The toy world's exact maps: for each pixel of a photo, the point of the garment's picture that it shows."""

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
from siftvton.toy.world.write import EXACT_MAP


def read_map(path: Path) -> np.ndarray:
    """Read an exact map of the toy world.

    Returns:
        (height, width, 2) places (x, y) on the garment, pixels; NaN where no garment is visible.

    Raises:
        InputError: the file is not such a map.
    """
    try:
        with open_file(path) as file, np.load(file, allow_pickle=False) as content:
            places = content["person_to_garment"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not an exact map of the toy world ({first_line(error)}); make it again") from error
    if places.ndim != 3 or places.shape[2] != 2 or not places.size or not np.issubdtype(places.dtype, np.floating):
        raise InputError(
            f"{path}: has shape {places.shape} and type {places.dtype}, but (height, width, 2) floats are required; "
            "make the map again"
        )
    known = places[~np.isnan(places).any(axis=2)]
    if ((known < -1) | (known > places.shape[1::-1])).any():
        raise InputError(f"{path}: points outside the garment's picture; make the map again")
    return places


def exact_positions(person_to_garment: np.ndarray, grid: Grid) -> Correspondences:
    """The places on the garment that the middles of a grid's cells show.

    Args:
        person_to_garment: (height, width, 2) exact map; NaN where no garment is visible.
    """
    height, width = person_to_garment.shape[:2]
    rows, columns = (
        ((np.arange(cells) + 0.5) * size / cells).astype(int) for cells, size in zip(grid, (height, width), strict=True)
    )
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    places = person_to_garment[y, x].astype(np.float64)
    known = np.isfinite(places).all(axis=1)
    return Correspondences(np.stack([x, y], axis=1)[known].astype(np.float64), places[known], (height, width))


def known_places(split: Split, matches: str | None, frame: Frame) -> Callable[[Pair], Known]:
    """Where the query cells of a pair should look, by exact maps if the data have them, else by matches.

    Args:
        matches: folder of match files; None: the exact maps if there are any, else the split's own matches.
        frame: (height, width) of the pictures in which the matches were measured, pixels.

    Raises:
        InputError: there are neither maps nor matches.
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
