"""Losses on the place of the garment that the attention expects, rather than on the attention weights.

A layer's attention, averaged over heads, gives each query an expected place: the mean of the places of all garment
cells. Leffa (Zhou et al. 2025, "Learning Flow Fields in Attention") takes these places for a flow field, warps the
garment with it and compares the result with the photo. The other loss compares the places with those of matches.

Both know only the mean of the attention. Attention that is spread evenly around the right place has no loss.

Letters: B images, H heads, R rows that hold a match, N_q and N_k person and garment cells, d head width, h × w cells,
Y × X pixels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from siftvton.supervision.reference import Grid, PlacedReference


def expected_places(query: Tensor, key: Tensor, scale: float, key_grid: Grid) -> Tensor:
    """The expectation of (row, column) under the attention averaged over heads.

    Args:
        query: (B, H, R, d). key: (B, H, N_k, d).
        scale: the factor of Q·K, 1/√d.

    Returns:
        (B, R, 2) cells; whole numbers are the middles of cells. float32 (float64 for float64 input).
    """
    dtype = torch.promote_types(query.dtype, torch.float32)
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=dtype, device=key.device) for n in key_grid), indexing="ij")
    position = torch.stack([rows, columns], dim=-1).reshape(1, 1, -1, 2)  #          (1, 1, N_k, 2)
    # The positions take the place of the values, padded to the head width that fused attention requires.
    value = functional.pad(position, (0, key.shape[-1] - 2)).expand_as(key)  #       (B, H, N_k, d)
    with torch.autocast(query.device.type, enabled=False):
        attended = functional.scaled_dot_product_attention(
            query.to(dtype), key.to(dtype), value.contiguous(), scale=scale
        )
    return attended[..., :2].mean(dim=1)


def place_error(query_rows: Tensor, key: Tensor, scale: float, reference: PlacedReference, key_grid: Grid) -> Tensor:
    """The mean distance from the expected places to the places of the matches, in heights of the garment picture.

    Only the rows that hold a match are needed. The distance is robust (Huber): it grows linearly beyond one cell, so
    that a wrong match pulls no more than a right one.

    Args:
        query_rows: (B, H, R, d) projected queries of ``reference.sparse.row_cells``.
        key: (B, H, N_k, d) projected keys.
        scale: the factor of Q·K, 1/√d.

    Returns:
        (B,); 0 for an image without a match.
    """
    expected = expected_places(query_rows, key, scale, key_grid)  #                  (B, R, 2)
    distance = (expected - reference.places).norm(dim=-1)  #                         (B, R)
    error = functional.huber_loss(distance, torch.zeros_like(distance), reduction="none", delta=1.0)
    count = reference.sparse.rows
    held = torch.arange(error.shape[1], device=error.device) < count[:, None]
    return (error * held).sum(dim=1) / count.clamp(min=1) / key_grid[0]


def warping_error(
    query: Tensor,
    key: Tensor,
    scale: float,
    pictures: tuple[Tensor, Tensor],
    mask: Tensor,
    query_grid: Grid,
    key_grid: Grid,
) -> Tensor:
    """Leffa's loss: the mean squared difference between the photo and the garment warped by the expected places.

    As in Leffa, the flow field is resized to the pictures. Unlike there, the softmax is the layer's own, without
    another temperature.

    Args:
        query: (B, H, N_q, d). key: (B, H, N_k, d).
        scale: the factor of Q·K, 1/√d.
        pictures: photo and garment, (B, 3, Y, X) each.
        mask: (B, 1, Y, X), the weight of each pixel of the photo; 1 where the garment is worn.

    Returns:
        (B,); 0 for an image with an empty mask.
    """
    places = expected_places(query, key, scale, key_grid).unflatten(1, query_grid)  #  (B, h, w, 2)
    person, garment, weight = (each.to(places.dtype) for each in (*pictures, mask))
    with torch.autocast(query.device.type, enabled=False):
        # grid_sample expects (x, y) in [−1, 1], where −1 and 1 are the outer edges of the picture.
        flow = torch.stack([_normalised(places[..., axis], key_grid[axis]) for axis in (1, 0)], dim=1)  # (B, 2, h, w)
        flow = functional.interpolate(flow, size=person.shape[-2:], mode="bilinear").permute(0, 2, 3, 1)
        warped = functional.grid_sample(garment, flow, padding_mode="border", align_corners=False)
        difference = (warped - person).square().mean(dim=1, keepdim=True)  #           (B, 1, Y, X)
        total = weight.sum(dim=(1, 2, 3))
        return (difference * weight).sum(dim=(1, 2, 3)) / total.clamp(min=1)


def _normalised(cells: Tensor, count: int) -> Tensor:
    return (2 * cells + 1) / count - 1
