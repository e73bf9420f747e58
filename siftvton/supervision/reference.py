"""The sparse reference attention p of Eq. 1, and the one rule that turns pixels into cells.

Letters: B images, M matches, E entries (distinct pairs of cells), R rows (person cells that hold a match, padded to
the batch's largest number), N_q and N_k person and garment cells.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from siftvton.correspondence import Correspondences, Frame

Grid = tuple[int, int]  # (rows, columns) of cells; a Frame is (height, width) in pixels
GridPair = tuple[Grid, Grid]  # of queries and keys


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
    """

    sparse: SparseReference
    rows: list[int]


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
    """

    image: np.ndarray
    person: np.ndarray
    garment: np.ndarray
    frame: Frame
    batch_size: int
    _placed: dict[tuple[torch.device, GridPair], PlacedReference] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def from_correspondences(cls, batch: Sequence[Correspondences]) -> "ReferenceAttention":
        """Gather a batch from one :class:`Correspondences` for each image; matches outside the frame are dropped (§2).

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
        return cls(image[inside], points[0, inside], points[1, inside], (frame[0], frame[1]), len(batch))

    def where(self, active: Tensor) -> "ReferenceAttention":
        """The same batch without the matches of inactive images; ``active`` is (B,) bool."""
        assert active.shape == (self.batch_size,)
        kept = active.cpu().numpy()[self.image]
        return ReferenceAttention(self.image[kept], self.person[kept], self.garment[kept], self.frame, self.batch_size)

    def at(self, query_grid: Grid, key_grid: Grid) -> SparseReference:
        """p_ij = (matches from person cell i to garment cell j) / (matches from i) (paper §3.2)."""
        arrays = self._counted(query_grid, key_grid)
        return SparseReference(**{name: torch.from_numpy(array) for name, array in arrays.items()})

    def on(self, device: torch.device, *grids: GridPair) -> list[PlacedReference]:
        """:meth:`at` for several pairs of grids, on a device.

        The pairs that are not there yet are sent together. They stay for later calls, because several layers have the
        same grids, and gradient checkpointing runs each layer twice.
        """
        missing = [pair for pair in dict.fromkeys(grids) if (device, pair) not in self._placed]
        counted = [self._counted(*pair) for pair in missing]
        for pair, arrays, sparse in zip(missing, counted, _sent_together(counted, device), strict=True):
            self._placed[device, pair] = PlacedReference(sparse, arrays["rows"].tolist())
        return [self._placed[device, pair] for pair in grids]

    def _counted(self, query_grid: Grid, key_grid: Grid) -> dict[str, np.ndarray]:
        """The arrays of :class:`SparseReference`."""
        n_q, n_k = math.prod(query_grid), math.prod(key_grid)
        query = self.image * n_q + cells(self.person, self.frame, query_grid)  # (M,) image and cell as one number
        pair = query * n_k + cells(self.garment, self.frame, key_grid)  #        (M,) and the garment cell
        entry, count = np.unique(pair, return_counts=True)  #                    (E,) sorted, so grouped by row
        query_of, key = np.divmod(entry, n_k)
        begins = np.diff(query_of, prepend=-1) != 0  #                           (E,) whether a new row begins
        row = np.cumsum(begins) - 1  #                                           (E,) over the rows of all images
        row_image, cell = np.divmod(query_of[begins], n_q)
        rows = np.bincount(row_image, minlength=self.batch_size)  #              (B,)
        place = np.arange(len(cell)) - (np.cumsum(rows) - rows)[row_image]  # the index of a row within its image
        row_cells = np.zeros((self.batch_size, rows.max()), np.int64)
        row_cells[row_image, place] = cell
        weight = (count / np.bincount(row, count)[row]).astype(np.float32)
        return {
            "image": row_image[row],
            "row": place[row],
            "key": key,
            "weight": weight,
            "row_cells": row_cells,
            "rows": rows,
        }


def sent(values: Tensor, device: torch.device) -> Tensor:
    """The same values on a device.

    Nothing waits for the copy: it starts from pinned memory if the device is a GPU. From other memory, the CPU would
    wait until the GPU has finished its earlier work.
    """
    if device.type == "cuda":
        values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values)
    return values.to(device, non_blocking=True)


def _sent_together(references: Sequence[dict[str, np.ndarray]], device: torch.device) -> list[SparseReference]:
    """Send the arrays of several references to a device as one array for each dtype."""
    arrays = [array for reference in references for array in reference.values()]
    parts: dict[np.dtype, Iterator[Tensor]] = {}
    for dtype in dict.fromkeys(array.dtype for array in arrays):
        same = [array for array in arrays if array.dtype == dtype]
        buffer = sent(torch.from_numpy(np.concatenate([array.ravel() for array in same])), device)
        parts[dtype] = iter(buffer.split([array.size for array in same]))
    return [
        SparseReference(**{name: next(parts[array.dtype]).view(array.shape) for name, array in reference.items()})
        for reference in references
    ]
