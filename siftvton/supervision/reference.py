"""The sparse reference attention p of Eq. 1, and the one rule that turns pixels into cells.

Letters: B images, M matches, E entries (distinct pairs of cells), R rows (person cells that hold a match, padded to
the batch's largest number), N_q and N_k person and garment cells.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from siftvton.correspondence import Correspondences, Frame

Grid = tuple[int, int]  # (rows, columns) of cells; a Frame is (height, width) in pixels
GridPair = tuple[Grid, Grid]  # of queries and keys
SMALLEST_SHARE = 0.01  # of a match in a cell, relative to its largest share; a Gaussian then ends at about 3σ


def cells(points: np.ndarray, frame: Frame, grid: Grid) -> np.ndarray:
    """The cell of each pixel: row·width + column, with (row, column) = (⌊y/s⌋, ⌊x/s⌋).

    Args:
        points: (M, 2) pixels (x to the right, y down) inside the frame.
        frame: height and width of the picture, pixels.
        grid: height and width of the feature map, cells; the size of a cell is s = frame / grid.

    Returns:
        (M,) int64.
    """
    x, y = points.astype(np.float64).T  #                                        (M,)
    column = np.floor(x * grid[1] / frame[1]).astype(np.int64)
    row = np.floor(y * grid[0] / frame[0]).astype(np.int64)
    return row * grid[1] + column


def places(points: np.ndarray, frame: Frame, grid: Grid) -> np.ndarray:
    """The (row, column) of pixels (M, 2) in cells, as real numbers: whole numbers are the middles of cells."""
    step = np.array([frame[0] / grid[0], frame[1] / grid[1]])
    return (points[:, ::-1].astype(np.float64) + 0.5) / step - 0.5


def spread_cells(points: np.ndarray, frame: Frame, grid: Grid, sigma: float) -> tuple[np.ndarray, ...]:
    """The share of a Gaussian around each point that is in each cell near it.

    As σ goes to 0, a point's own cell gets all of it, as :func:`cells` says.

    Args:
        points: (M, 2) pixels inside the frame.
        sigma: standard deviation of the Gaussian, pixels; above 0.

    Returns:
        Three arrays (S,): the index of a point, one of the cells, and its share. The shares of a point sum to 1.
    """
    (column, by_column), (row, by_row) = (
        _spread_along(points[:, axis], frame[1 - axis], grid[1 - axis], sigma) for axis in (0, 1)
    )
    cell = row[:, :, None] * grid[1] + column[:, None]  #                         (M, rows, columns)
    share = by_row[:, :, None] * by_column[:, None]
    kept = share > SMALLEST_SHARE * share.max(axis=(1, 2), keepdims=True, initial=0)
    share = np.where(kept, share, 0)
    share /= share.sum(axis=(1, 2), keepdims=True)
    return kept.nonzero()[0], cell[kept], share[kept]


def _spread_along(x: np.ndarray, size: int, count: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The cells near x (M,) on one axis of ``size`` pixels and ``count`` cells, and their shares; (M, K) each."""
    step = size / count
    reach = min(count - 1, math.ceil(3.5 * sigma / step))
    cell = np.floor(x * count / size).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    below, above = (ndtr(((cell + side) * step - x[:, None]) / sigma) for side in (0, 1))
    return cell, np.where((cell >= 0) & (cell < count), above - below, 0)


def grid_of(tokens: int, frame: Frame) -> Grid:
    """The (height, width) of a feature map that has ``tokens`` cells and the shape of the frame.

    Raises:
        ValueError: no such grid exists.
    """
    height = math.isqrt(tokens * frame[0] // frame[1])
    for rows in (height, height + 1):
        if rows and tokens % rows == 0 and rows * frame[1] == tokens // rows * frame[0]:
            return rows, tokens // rows
    raise ValueError(f"{tokens} tokens do not form a grid with the shape of a frame of {frame[0]}x{frame[1]} pixels")


@dataclass(frozen=True)
class SparseReference:
    """p on one pair of grids: E numbers instead of N_q × N_k.

    Attributes:
        image: (E,) the image of each entry in the batch.
        row: (E,) the row of each entry, an index into ``row_cells[image]``.
        key: (E,) garment cell j.
        weight: (E,) float32, p_ij; the entries of one row sum to 1.
        row_cells: (B, R) person cell i of each row; padded with 0.
        rows: (B,) |M_SIFT|, the number of rows of each image.
    """

    image: Tensor
    row: Tensor
    key: Tensor
    weight: Tensor
    row_cells: Tensor
    rows: Tensor

    @property
    def query(self) -> Tensor:
        """(E,) person cell i of each entry."""
        return self.row_cells[self.image, self.row]

    def to(self, device: torch.device) -> "SparseReference":
        return SparseReference(**{name: sent(value, device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class PlacedReference:
    """p on one pair of grids, on the device of the model.

    Attributes:
        sparse: its tensors are on the device.
        rows: ``sparse.rows`` as Python numbers. To read them from a GPU would wait until it has finished its work.
        places: (B, R, 2) float32, the mean place of each row's matches on the garment: (row, column) in key cells,
            where whole numbers are the middles of cells. Padded with 0.
    """

    sparse: SparseReference
    rows: list[int]
    places: Tensor


@dataclass(frozen=True)
class ReferenceAttention:
    """The matches of a batch of images, ready to be counted on any pair of grids.

    The arrays are NumPy's. For arrays this small, the overhead of a call outweighs its work, and PyTorch's overhead is
    several times larger.

    Attributes:
        image: (M,) int64, the image of each match.
        person, garment: (M, 2) float64 pixels (x to the right, y down), inside the frame.
        frame: height and width of both pictures, pixels.
        batch_size: B, images without a match included.
        sigma: a match counts for the garment's cells by a Gaussian with this standard deviation, pixels; 0: for its own
            cell alone, as in the paper.
    """

    image: np.ndarray
    person: np.ndarray
    garment: np.ndarray
    frame: Frame
    batch_size: int
    sigma: float = 0.0
    _placed: dict[tuple[torch.device, GridPair], PlacedReference] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def from_correspondences(cls, batch: Sequence[Correspondences], sigma: float = 0.0) -> "ReferenceAttention":
        """Gather a batch from one :class:`Correspondences` for each image; matches outside the frame are dropped (§2).

        Args:
            sigma: as the attribute.

        Raises:
            ValueError: the batch is empty or its frames differ.
        """
        frames = {tuple(item.frame) for item in batch}
        if len(frames) != 1:
            raise ValueError(f"all images of a batch must have one frame, found {sorted(frames)}")
        frame = frames.pop()
        points = np.stack([np.concatenate([getattr(item, side) for item in batch]) for side in ("person", "garment")])
        image = np.repeat(np.arange(len(batch)), [len(item) for item in batch])
        inside = ((points >= 0) & (points < (frame[1], frame[0]))).all(axis=(0, 2))  #  (M,) of points (2, M, 2)
        return cls(image[inside], points[0, inside], points[1, inside], (frame[0], frame[1]), len(batch), sigma)

    def where(self, active: Tensor) -> "ReferenceAttention":
        """The same batch without the matches of inactive images; ``active`` is (B,) bool."""
        assert active.shape == (self.batch_size,)
        kept = active.cpu().numpy()[self.image]
        return replace(self, image=self.image[kept], person=self.person[kept], garment=self.garment[kept])

    def at(self, query_grid: Grid, key_grid: Grid) -> SparseReference:
        """p_ij = (matches from person cell i to garment cell j) / (matches from i) (paper §3.2)."""
        arrays, _ = self._counted(query_grid, key_grid)
        return SparseReference(**{name: torch.from_numpy(array) for name, array in arrays.items()})

    def on(self, device: torch.device, *grids: GridPair) -> list[PlacedReference]:
        """:meth:`at` for several pairs of grids, on a device.

        The pairs that are not there yet are sent together. They stay for later calls, because several layers have the
        same grids, and gradient checkpointing runs each layer twice.
        """
        missing = [pair for pair in dict.fromkeys(grids) if (device, pair) not in self._placed]
        counted = [self._counted(*pair) for pair in missing]
        together = _sent_together([{**arrays, "places": means} for arrays, means in counted], device)
        for pair, (arrays, _), sent_arrays in zip(missing, counted, together, strict=True):
            means = sent_arrays.pop("places")
            placed = PlacedReference(SparseReference(**sent_arrays), arrays["rows"].tolist(), means)
            self._placed[device, pair] = placed
        return [self._placed[device, pair] for pair in grids]

    def _counted(self, query_grid: Grid, key_grid: Grid) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The arrays of :class:`SparseReference`, and the places of :class:`PlacedReference`."""
        n_q, n_k = math.prod(query_grid), math.prod(key_grid)
        query = self.image * n_q + cells(self.person, self.frame, query_grid)  # (M,) image and cell as one number
        entry, count = self._pairs(query, key_grid)  #                           (E,) sorted, so grouped by row
        query_of, key = np.divmod(entry, n_k)
        begins = np.diff(query_of, prepend=-1) != 0  #                           (E,) whether a new row begins
        row = np.cumsum(begins) - 1  #                                           (E,) over the rows of all images
        row_image, cell = np.divmod(query_of[begins], n_q)
        rows = np.bincount(row_image, minlength=self.batch_size)  #              (B,)
        place = np.arange(len(cell)) - (np.cumsum(rows) - rows)[row_image]  # the index of a row within its image
        row_cells = np.zeros((self.batch_size, rows.max()), np.int64)
        row_cells[row_image, place] = cell
        weight = (count / np.bincount(row, count)[row]).astype(np.float32)
        means = np.zeros((*row_cells.shape, 2), np.float32)
        means[row_image, place] = _means_of(places(self.garment, self.frame, key_grid), query, query_of[begins])
        arrays = {
            "image": row_image[row],
            "row": place[row],
            "key": key,
            "weight": weight,
            "row_cells": row_cells,
            "rows": rows,
        }
        return arrays, means

    def _pairs(self, query: np.ndarray, key_grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """The pairs of cells that hold a match, as sorted numbers query·N_k + key, and the count of matches in each.

        Args:
            query: (M,) image and person cell of each match as one number.
        """
        n_k = math.prod(key_grid)
        if not self.sigma:
            return np.unique(query * n_k + cells(self.garment, self.frame, key_grid), return_counts=True)
        match, key, share = spread_cells(self.garment, self.frame, key_grid, self.sigma)
        pair, which = np.unique(query[match] * n_k + key, return_inverse=True)
        return pair, np.bincount(which, share, minlength=len(pair))


def _means_of(values: np.ndarray, group: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Means of ``values`` (M, 2) over the members of each of the sorted ``groups``; ``group`` (M,) is of each value."""
    which = np.searchsorted(groups, group)
    count = np.bincount(which, minlength=len(groups))
    return np.stack([np.bincount(which, axis, len(groups)) / count for axis in values.T], axis=1)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """The same values on a device.

    Nothing waits for the copy: it starts from pinned memory if the device is a GPU. From other memory, the CPU would
    wait until the GPU has finished its earlier work.
    """
    if device.type == "cuda":
        values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values)
    return values.to(device, non_blocking=True)


def _sent_together(several: Sequence[dict[str, np.ndarray]], device: torch.device) -> list[dict[str, Tensor]]:
    """Send several sets of arrays to a device as one array for each dtype."""
    arrays = [array for named in several for array in named.values()]
    parts: dict[np.dtype, Iterator[Tensor]] = {}
    for dtype in dict.fromkeys(array.dtype for array in arrays):
        same = [array for array in arrays if array.dtype == dtype]
        buffer = sent(torch.from_numpy(np.concatenate([array.ravel() for array in same])), device)
        parts[dtype] = iter(buffer.split([array.size for array in same]))
    return [{name: next(parts[array.dtype]).view(array.shape) for name, array in named.items()} for named in several]
