"""Eqs. 1-2 and StableVITON's ATV, written as plainly as possible: dense matrices, float64, loops."""

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
