"""The reference attention p of Eq. 1, sparse, and the one rule that turns pixels into cells.

Letters: B images, M matches, E entries (distinct pairs of cells), R rows (person cells that hold a match, padded to
the batch's largest number), N_q and N_k person and garment cells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from siftvton.correspondence import Correspondences, Frame

Grid = tuple[int, int]  # (rows, columns) of cells; a Frame is (height, width) in pixels


def cells(points: np.ndarray, frame: Frame, grid: Grid) -> np.ndarray:
    """The cell that each pixel lies in: row·width + column, with (row, column) = (⌊y/s⌋, ⌊x/s⌋).

    Args:
        points: (M, 2) pixels (x right, y down) inside the frame.
        frame: height and width of the picture, pixels.
        grid: height and width of the feature map, cells; the cell size is s = frame / grid.

    Returns:
        (M,) int64.
    """
    x, y = points.astype(np.float64).T  #                                        (M,)
    column = np.floor(x * grid[1] / frame[1]).astype(np.int64)
    row = np.floor(y * grid[0] / frame[0]).astype(np.int64)
    return row * grid[1] + column


def grid_of(tokens: int, frame: Frame) -> Grid:
    """The (height, width) of a feature map of ``tokens`` cells with the frame's shape.

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
        row: (E,) its row among the image's rows, an index into ``row_cells[image]``.
        key: (E,) garment cell j.
        weight: (E,) float32, p_ij; over the entries of one row they sum to 1.
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
        return SparseReference(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


@dataclass(frozen=True)
class ReferenceAttention:
    """The matches of a batch of images, ready to be counted on any pair of grids.

    They stay NumPy's: on arrays this small a call costs more than its work, and PyTorch's calls several times more.

    Attributes:
        image: (M,) int64, the image of each match.
        person, garment: (M, 2) float64 pixels (x right, y down), inside the frame.
        frame: height and width of both pictures, pixels.
        batch_size: B, images without a match included.
    """

    image: np.ndarray
    person: np.ndarray
    garment: np.ndarray
    frame: Frame
    batch_size: int

    @classmethod
    def from_correspondences(cls, batch: Sequence[Correspondences]) -> "ReferenceAttention":
        """Gather a batch, one :class:`Correspondences` an image; matches outside the frame are dropped (§2).

        Raises:
            ValueError: the batch is empty or its frames differ.
        """
        frames = {tuple(item.frame) for item in batch}
        if len(frames) != 1:
            raise ValueError(f"all images of a batch must have one frame; found {sorted(frames)}")
        frame = frames.pop()
        points = np.stack([np.concatenate([getattr(item, side) for item in batch]) for side in ("person", "garment")])
        image = np.repeat(np.arange(len(batch)), [len(item) for item in batch])
        inside = ((points >= 0) & (points < (frame[1], frame[0]))).all(axis=(0, 2))  #  (M,) of points (2, M, 2)
        return cls(image[inside], points[0, inside], points[1, inside], (frame[0], frame[1]), len(batch))

    def where(self, active: Tensor) -> "ReferenceAttention":
        """The same batch with the matches of inactive images taken away; ``active`` is (B,) bool."""
        assert active.shape == (self.batch_size,)
        kept = active.cpu().numpy()[self.image]
        return ReferenceAttention(self.image[kept], self.person[kept], self.garment[kept], self.frame, self.batch_size)

    def at(self, query_grid: Grid, key_grid: Grid) -> SparseReference:
        """p_ij = (matches from person cell i to garment cell j) / (matches from i) (paper §3.2)."""
        n_q, n_k = math.prod(query_grid), math.prod(key_grid)
        query = self.image * n_q + cells(self.person, self.frame, query_grid)  # (M,) image and cell in one number
        pair = query * n_k + cells(self.garment, self.frame, key_grid)  #        (M,) the garment's cell as well
        entry, count = np.unique(pair, return_counts=True)  #                    (E,) rows lie together
        query_of, key = np.divmod(entry, n_k)
        begins = np.diff(query_of, prepend=-1) != 0  #                           (E,) whether a new row does
        row = np.cumsum(begins) - 1  #                                           (E,) among those of all images
        row_image, cell = np.divmod(query_of[begins], n_q)
        rows = np.bincount(row_image, minlength=self.batch_size)  #              (B,)
        place = np.arange(len(cell)) - (np.cumsum(rows) - rows)[row_image]  # a row's place within its image
        row_cells = np.zeros((self.batch_size, rows.max()), np.int64)
        row_cells[row_image, place] = cell
        weight = (count / np.bincount(row, count)[row]).astype(np.float32)
        return SparseReference(*map(torch.from_numpy, (row_image[row], place[row], key, weight, row_cells, rows)))
