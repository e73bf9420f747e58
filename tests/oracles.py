"""The attention losses and their references, written as plainly as possible: dense matrices, float64, loops."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from siftvton.correspondence import Correspondences


def dense_reference(matches: Correspondences, query_grid: tuple[int, int], key_grid: tuple[int, int]) -> np.ndarray:
    """p (N_q, N_k): the normalised histogram of §3.2."""
    p = np.zeros((query_grid[0] * query_grid[1], key_grid[0] * key_grid[1]))
    height, width = matches.frame
    for (x_p, y_p), (x_g, y_g) in zip(matches.person, matches.garment, strict=True):
        i = int(y_p // (height / query_grid[0])) * query_grid[1] + int(x_p // (width / query_grid[1]))
        j = int(y_g // (height / key_grid[0])) * key_grid[1] + int(x_g // (width / key_grid[1]))
        p[i, j] += 1
    return p / np.maximum(p.sum(axis=1, keepdims=True), 1)


def dense_soft_reference(
    matches: Correspondences, query_grid: tuple[int, int], key_grid: tuple[int, int], sigma: float
) -> np.ndarray:
    """p (N_q, N_k) where a match counts for garment cells by the integral of a Gaussian over each cell."""
    p = np.zeros((query_grid[0] * query_grid[1], key_grid[0] * key_grid[1]))
    height, width = matches.frame

    def share(x: float, size: int, count: int, cell: int) -> float:
        step = size / count
        low, high = (math.erf((edge * step - x) / sigma / math.sqrt(2)) for edge in (cell, cell + 1))
        return (high - low) / 2

    for (x_p, y_p), (x_g, y_g) in zip(matches.person, matches.garment, strict=True):
        i = int(y_p // (height / query_grid[0])) * query_grid[1] + int(x_p // (width / query_grid[1]))
        shares = np.array(
            [
                share(y_g, height, key_grid[0], row) * share(x_g, width, key_grid[1], column)
                for row in range(key_grid[0])
                for column in range(key_grid[1])
            ]
        )
        shares[shares <= 0.01 * shares.max()] = 0
        p[i] += shares / shares.sum()
    return p / np.maximum(p.sum(axis=1, keepdims=True), 1e-9)


def dense_cross_entropy(query: Tensor, key: Tensor, scale: float, p: Tensor) -> Tensor:
    """Eqs. 1-2 for one image and one layer: query (H, N_q, d), key (H, N_k, d), p (N_q, N_k)."""
    q = torch.softmax(scale * query.double() @ key.double().transpose(1, 2), dim=-1)
    rows = p.sum(dim=1) > 0
    if not rows.any():
        return query.double().sum() * 0
    eq_1 = -(p.double() * q.log()).sum(dim=-1)[:, rows]
    return eq_1.mean()


def dense_variation(query: Tensor, key: Tensor, scale: float, mask: Tensor, key_columns: int) -> Tensor:
    """ATV for one image: query (H, N_q, d), key (H, N_k, d), mask (h, w) bool."""
    attention = torch.softmax(scale * query.double() @ key.double().transpose(1, 2), dim=-1).mean(dim=0)
    cells = torch.arange(key.shape[1])
    position = torch.stack([cells // key_columns, cells % key_columns], dim=-1).double()
    expected = (attention @ position).reshape(*mask.shape, 2)
    total = torch.zeros((), dtype=torch.float64)
    for down, right in ((1, 0), (0, 1)):
        jumps = [
            (expected[r + down, c + right] - expected[r, c]).abs().sum()
            for r in range(mask.shape[0] - down)
            for c in range(mask.shape[1] - right)
            if mask[r, c] and mask[r + down, c + right]
        ]
        if jumps:
            total = total + sum(jumps) / len(jumps)
    return total


def dense_expected_places(query: Tensor, key: Tensor, scale: float, key_columns: int) -> Tensor:
    """(N_q, 2) expected (row, column) of one image: query (H, N_q, d), key (H, N_k, d)."""
    attention = torch.softmax(scale * query.double() @ key.double().transpose(1, 2), dim=-1).mean(dim=0)
    cells = torch.arange(key.shape[1])
    return attention @ torch.stack([cells // key_columns, cells % key_columns], dim=-1).double()


def dense_place_error(
    expected: Tensor, matches: Correspondences, query_grid: tuple[int, int], key_grid: tuple[int, int]
) -> Tensor:
    """The place loss of one image, of expected places (N_q, 2): Huber beyond one cell, in heights of the garment."""
    height, width = matches.frame
    of_cell: dict[int, list[tuple[float, float]]] = {}
    for (x_p, y_p), (x_g, y_g) in zip(matches.person, matches.garment, strict=True):
        i = int(y_p // (height / query_grid[0])) * query_grid[1] + int(x_p // (width / query_grid[1]))
        place = (y_g + 0.5) * key_grid[0] / height - 0.5, (x_g + 0.5) * key_grid[1] / width - 0.5
        of_cell.setdefault(i, []).append(place)
    total = 0 * expected.sum()
    for i, places in of_cell.items():
        distance = (expected[i] - torch.tensor(places, dtype=torch.float64).mean(dim=0)).square().sum().sqrt()
        total = total + (distance**2 / 2 if distance < 1 else distance - 0.5)
    return total / max(1, len(of_cell)) / key_grid[0]


def dense_warping_error(
    expected: Tensor, pictures: Sequence[Tensor], mask: Tensor, query_grid: tuple[int, int], key_grid: tuple[int, int]
) -> Tensor:
    """The flow loss of one image, of expected places (N_q, 2): two pictures (3, Y, X), and the photo's mask (Y, X)."""
    person, garment = pictures
    size = mask.shape
    flow = expected.unflatten(0, query_grid).permute(2, 0, 1)  # (2, h, w)
    total = torch.zeros((), dtype=torch.float64)
    for y in range(size[0]):
        for x in range(size[1]):
            at = [(torch.tensor(p) + 0.5) * n / s - 0.5 for p, n, s in zip((y, x), query_grid, size, strict=True)]
            row, column = _bilinear(flow, *at)
            place = [(c + 0.5) * s / n - 0.5 for c, n, s in zip((row, column), key_grid, size, strict=True)]
            total = total + mask[y, x] * (_bilinear(garment, *place) - person[:, y, x]).square().mean()
    return total / max(1.0, mask.sum().item())


def _bilinear(picture: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The value (C,) of a picture (C, Y, X) between its pixels; the outermost pixels go on outside it."""
    row, column = (at.clamp(0, size - 1) for at, size in zip((row, column), picture.shape[1:], strict=True))
    top, left = int(row), int(column)
    bottom, right = min(top + 1, picture.shape[1] - 1), min(left + 1, picture.shape[2] - 1)
    down, across = row - top, column - left
    above = (1 - across) * picture[:, top, left] + across * picture[:, top, right]
    below = (1 - across) * picture[:, bottom, left] + across * picture[:, bottom, right]
    return (1 - down) * above + down * below
