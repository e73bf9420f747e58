"""Eqs. 1-3, min-SNR and StableVITON's attention total variation; every function returns one value for each image.

Letters: B images, H heads, R rows that hold a match, N_q and N_k person and garment cells, d head width, E entries.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from siftvton.supervision.flow import expected_places
from siftvton.supervision.reference import Grid, SparseReference

# The most scores in memory at once: on a CPU as many as fit into the cache of a core (1.5 MiB), on a GPU 64 MiB.
SCORES_AT_ONCE = {"cpu": 3 * 2**17}
SCORES_ON_A_GPU = 2**24
# The smallest log-ratio of an attention weight to the largest one of its row. Smaller weights change no sum, but their
# exponentials, or products with these, are so small that a CPU handles them a hundred times more slowly.
SMALLEST = -60.0


def attention_cross_entropy(
    query_rows: Tensor, key: Tensor, scale: float, reference: SparseReference, rows: Sequence[int] | None = None
) -> Tensor:
    """Eqs. 1-2 for one layer: the mean of −Σ_j p_ij log q_ij over heads and M_SIFT.

    Only the rows that hold a match are needed, because p is zero in all others.

    Args:
        query_rows: (B, H, R, d) projected queries of ``reference.row_cells``.
        key: (B, H, N_k, d) projected keys.
        scale: the factor of Q·K, 1/√d.
        rows: ``reference.rows`` as Python numbers; None: the padding is computed as well.

    Returns:
        (B,) in float32 (float64 for float64 input); 0 for an image without a match.
    """
    dtype = torch.promote_types(query_rows.dtype, torch.float32)
    if rows is None:
        rows = [query_rows.shape[2]] * len(query_rows)
    with torch.autocast(query_rows.device.type, enabled=False):
        return _CrossEntropy.apply(query_rows.to(dtype), key.to(dtype), scale, reference, rows)


class _CrossEntropy(torch.autograd.Function):
    """Computes the gradient together with the value, some scores at a time, so none are kept until backward.

    With s_rj = scale·Q_r·K_j, the loss of a row is Σ_j p_rj (log Σ_k exp(s_rk) − s_rj); its gradient with respect to
    s_rj is q_rj − p_rj. The terms with q are sums over all keys, those with p sums over the E entries.
    """

    @staticmethod
    def forward(
        ctx: Any, query_rows: Tensor, key: Tensor, scale: float, reference: SparseReference, rows: Sequence[int]
    ) -> Tensor:
        images, heads, padded, _ = query_rows.shape
        image, row, cell = reference.image, reference.row, reference.key
        query = scale * query_rows
        share = (torch.arange(padded, device=key.device) < reference.rows[:, None]).to(key.dtype)  #  (B, R)
        share = share / (heads * reference.rows.clamp(min=1)[:, None])  # the weight of a row in the image's loss
        with_means = any(ctx.needs_input_grad)
        log_sum, mean_key, mean_query = _softmax_sums(query, key, share, rows, with_means)

        p = reference.weight.to(key.dtype)  #                                      (E,)
        weight = p * share[image, row]
        query_of, key_of = query[image, :, row], key[image, :, cell]  #            (E, H, d)
        minus_log_q = log_sum[image, :, row] - (query_of * key_of).sum(dim=-1)  #  (E, H)
        loss = key.new_zeros(images).index_add_(0, image, weight * minus_log_q.sum(dim=1))
        if with_means:
            query_gradient = mean_key.unflatten(0, (images, heads)).transpose(1, 2).contiguous()  # (B, R, H, d)
            query_gradient.flatten(0, 1).index_add_(0, image * padded + row, -p[:, None, None] * key_of)
            query_gradient *= scale * share[:, :, None, None]
            entries = image * key.shape[2] + cell, image, weight[:, None, None] * query_of
            ctx.save_for_backward(query_gradient, mean_query.unflatten(0, (images, heads)), *entries)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        query_gradient, mean_query, place, image, weighted = ctx.saved_tensors
        of_image = gradient.view(-1, 1, 1, 1)
        by_cell = mean_query.permute(0, 3, 1, 2)  #                                (B, N_k, H, d)
        key_gradient = torch.mul(of_image, by_cell, out=by_cell.new_empty(by_cell.shape))
        key_gradient.flatten(0, 1).index_add_(0, place, -gradient[image, None, None] * weighted)
        return (of_image * query_gradient).transpose(1, 2), key_gradient.transpose(1, 2), None, None, None


def _softmax_sums(
    query: Tensor, key: Tensor, share: Tensor, rows: Sequence[int], with_means: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The sums over all keys that Eq. 1 and its gradient require, with q_rj = exp(Q_r·K_j) / Σ_k exp(Q_r·K_k).

    Args:
        query: (B, H, R, d). key: (B, H, N_k, d). share: (B, R).
        rows: the number of rows of each image; the others are not computed.

    Returns:
        log Σ_j exp(Q_r·K_j), (B, H, R); Σ_j q_rj K_j, (B·H, R, d); Σ_r share_r q_rj Q_r, (B·H, d, N_k). The last two
        are 0 without ``with_means``.
    """
    images, heads, padded, _ = query.shape
    cells = key.shape[2]
    query, by_cell = query.flatten(0, 1), key.flatten(0, 1)  #      (B·H, R, d), (B·H, N_k, d)
    by_channel = by_cell.transpose(1, 2)  #                         (B·H, d, N_k)
    shared = query * share[:, None].expand(-1, heads, -1).reshape(images * heads, padded, 1)
    shared = shared.transpose(1, 2).contiguous()  #                 (B·H, d, R)
    largest = query.new_zeros(images * heads, padded, 1)
    total = torch.ones_like(largest)
    mean_key, mean_query = torch.zeros_like(query), by_cell.new_zeros(by_channel.shape)
    parts = list(_parts(rows, heads, cells, SCORES_AT_ONCE.get(key.device.type, SCORES_ON_A_GPU)))
    space = query.new_empty(max((_size(*part) for part in parts), default=0), cells)
    for which, r in parts:
        score = space[: _size(which, r)].view(which.stop - which.start, -1, cells)
        row_largest, row_total = largest[which, r], total[which, r]
        torch.bmm(query[which, r], by_channel[which], out=score)
        torch.amax(score, dim=-1, keepdim=True, out=row_largest)
        score.sub_(row_largest).clamp_(min=SMALLEST).exp_()
        torch.sum(score, dim=-1, keepdim=True, out=row_total)
        if with_means:
            torch.bmm(score, by_cell[which], out=mean_key[which, r])
            mean_query[which].baddbmm_(shared[which, :, r] / row_total.transpose(1, 2), score)
    log_sum = (largest + total.log()).view(images, heads, padded)
    return log_sum, mean_key.div_(total), mean_query


def _size(heads: slice, rows: slice) -> int:
    return (heads.stop - heads.start) * (rows.stop - rows.start)


def _parts(rows: Sequence[int], heads: int, keys: int, scores_at_once: int) -> Iterator[tuple[slice, slice]]:
    """Divide the rows of a batch into parts of at most ``scores_at_once`` scores, or of one row of one head.

    Yields:
        A range of images × heads, and a range of rows.
    """
    at_most = max(1, scores_at_once // keys)  # rows of all heads together
    first = 0
    while first < len(rows):
        last, most = first + 1, rows[first]
        while last < len(rows) and max(most, rows[last]) * heads * (last + 1 - first) <= at_most:
            most = max(most, rows[last])
            last += 1
        heads_at_once = heads * (last - first)
        if last == first + 1 and most:
            heads_at_once = min(heads, max(1, at_most // most))
        rows_at_once = math.ceil(most / math.ceil(most * heads_at_once / at_most)) if most else 1
        for head in range(first * heads, last * heads, heads_at_once):
            for row in range(0, most, rows_at_once):
                yield slice(head, min(head + heads_at_once, last * heads)), slice(row, min(row + rows_at_once, most))
        first = last


def attention_total_variation(
    query: Tensor, key: Tensor, scale: float, mask: Tensor, query_grid: Grid, key_grid: Grid
) -> Tensor:
    """StableVITON's ATV for one layer: how far the attended position jumps between neighbouring queries.

    The attended position is the expectation of (row, column), in cells, under the attention averaged over heads. The
    loss is the mean of |Δrow| + |Δcolumn| over vertical neighbours inside ``mask``, plus the same mean over horizontal
    neighbours.

    Args:
        query: (B, H, N_q, d). key: (B, H, N_k, d).
        mask: (B, N_q) bool; True for queries in the worn garment.

    Returns:
        (B,); 0 for an image without such neighbours.
    """
    position = expected_places(query, key, scale, key_grid).unflatten(1, query_grid)  # (B, h, w, 2)
    inside = mask.unflatten(1, query_grid)  #                                        (B, h, w)
    result = position.new_zeros(len(position))
    for axis in (1, 2):
        jump = position.diff(dim=axis).abs().sum(dim=-1)
        size = inside.shape[axis] - 1
        both = inside.narrow(axis, 0, size) & inside.narrow(axis, 1, size)
        result = result + (jump * both).sum(dim=(1, 2)) / both.sum(dim=(1, 2)).clamp(min=1)
    return result


def min_snr_weight(
    alphas_cumprod: Tensor, timesteps: Tensor, gamma: float | None, prediction_type: str = "epsilon"
) -> Tensor:
    """ω(t) of Eq. 3, min-SNR (Hang et al. 2023, the paper's [9]), with SNR = ᾱ/(1 − ᾱ).

    The weight is min(SNR, γ)/SNR for the error of ε, and min(SNR, γ)/(SNR + 1) for the error of v. Both weight the
    error of the latent with min(SNR, γ).

    Args:
        alphas_cumprod: (T,) ᾱ of the noise schedule.
        timesteps: (B,).
        gamma: None: the weight is 1 everywhere.
        prediction_type: ``epsilon`` or ``v_prediction``.

    Returns:
        (B,).
    """
    alpha = alphas_cumprod.to(timesteps.device)[timesteps]
    if gamma is None:
        return torch.ones_like(alpha)
    snr = alpha / (1 - alpha)
    return snr.clamp(max=gamma) / (snr + 1 if prediction_type == "v_prediction" else snr)


def noise_error(prediction: Tensor, noise: Tensor) -> Tensor:
    """mean((ε − ε̂)²) for each image in float32, (B, …) -> (B,)."""
    return functional.mse_loss(prediction.float(), noise.float(), reduction="none").flatten(1).mean(dim=1)


def training_loss(weight: Tensor, error: Tensor, attention_losses: Tensor) -> Tensor:
    """Eq. 3 for each image: ω(t)·mean((ε − ε̂)²) + λ·L_SIFT. All are (B,); ``attention_losses`` includes λ."""
    assert weight.shape == error.shape == attention_losses.shape
    return weight * error + attention_losses
