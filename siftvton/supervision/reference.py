"""The reference attention p of Eq. 1, sparse, and the one rule that turns pixels into cells.

Letters: B images, M matches, E entries (distinct pairs of cells), R rows (person cells that hold a match, padded to
the batch's largest number), N_q and N_k person and garment cells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from siftvton.correspondence import Correspondences

Grid = tuple[int, int]  # rows, columns


def cells(points: Tensor, frame: Grid, grid: Grid) -> Tensor:
    """The cell that each pixel lies in: row·width + column, with (row, column) = (⌊y/s⌋, ⌊x/s⌋).

    Args:
        points: (M, 2) pixels (x right, y down) inside the frame.
        frame: height and width of the picture, pixels.
        grid: height and width of the feature map, cells; the cell size is s = frame / grid.

    Returns:
        (M,) int64.
    """
    x, y = points.double().unbind(-1)  #                                         (M,)
    column = (x * grid[1] / frame[1]).floor().long()
    row = (y * grid[0] / frame[0]).floor().long()
    return row * grid[1] + column


def grid_of(tokens: int, frame: Grid) -> Grid:
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

    Attributes:
        image: (M,) int64, the image of each match.
        person, garment: (M, 2) float64 pixels (x right, y down), inside the frame.
        frame: height and width of both pictures, pixels.
        batch_size: B, images without a match included.
    """

    image: Tensor
    person: Tensor
    garment: Tensor
    frame: Grid
    batch_size: int

    @classmethod
    def from_correspondences(cls, batch: Sequence[Correspondences]) -> "ReferenceAttention":
        """Gather a batch, one :class:`Correspondences` an image; matches outside the frame are dropped (§2).

        Raises:
            ValueError: the batch is empty or its frames differ.
        """
        frames = {tuple(item.frame) for item in batch}
        if len(frames) != 1:
            raise ValueError(f"one frame is wanted for a batch, found {sorted(frames)}")
        frame = frames.pop()
        points = torch.cat(
            [torch.as_tensor(item.person).double() for item in batch]
            + [torch.as_tensor(item.garment).double() for item in batch]
        ).reshape(2, -1, 2)  #                                                   (2, M, 2)
        image = torch.repeat_interleave(torch.arange(len(batch)), torch.tensor([len(item.person) for item in batch]))
        size = torch.tensor([frame[1], frame[0]])
        inside = ((points >= 0) & (points < size)).all(dim=-1).all(dim=0)  #     (M,)
        return cls(image[inside], points[0, inside], points[1, inside], (frame[0], frame[1]), len(batch))

    def where(self, active: Tensor) -> "ReferenceAttention":
        """The same batch with the matches of inactive images taken away; ``active`` is (B,) bool."""
        assert active.shape == (self.batch_size,)
        kept = active.cpu()[self.image]
        return ReferenceAttention(self.image[kept], self.person[kept], self.garment[kept], self.frame, self.batch_size)

    def at(self, query_grid: Grid, key_grid: Grid) -> SparseReference:
        """p_ij = (matches from person cell i to garment cell j) / (matches from i) (paper §3.2)."""
        n_q, n_k = math.prod(query_grid), math.prod(key_grid)
        query = self.image * n_q + cells(self.person, self.frame, query_grid)  # (M,) image and cell in one number
        key = cells(self.garment, self.frame, key_grid)  #                       (M,)
        row_id, row_of_match, matches_in_row = torch.unique(query, return_inverse=True, return_counts=True)
        entry, count = torch.unique(row_of_match * n_k + key, return_counts=True)  # (E,)
        row, key = entry // n_k, entry % n_k
        row_image = row_id // n_q
        rows = torch.bincount(row_image, minlength=self.batch_size)  #           (B,)
        place = torch.arange(len(row_id)) - (rows.cumsum(0) - rows)[row_image]  # a row's place within its image
        row_cells = torch.zeros(self.batch_size, int(rows.max()), dtype=torch.long)
        row_cells[row_image, place] = row_id % n_q
        weight = (count.double() / matches_in_row[row]).float()
        return SparseReference(row_image[row], place[row], key, weight, row_cells, rows)
