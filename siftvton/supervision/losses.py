"""Eqs. 1-3, min-SNR and StableVITON's attention total variation; every function returns one value for each image.

Letters: B images, H heads, R rows that hold a match, N_q and N_k person and garment cells, d head width, E entries.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from siftvton.supervision.reference import Grid, SparseReference

ROWS_AT_ONCE = 64  # limits the scores in memory to B × H × 64 × N_k numbers


def attention_cross_entropy(query_rows: Tensor, key: Tensor, scale: float, reference: SparseReference) -> Tensor:
    """Eqs. 1-2 for one layer: the mean of −Σ_j p_ij log q_ij over heads and M_SIFT.

    Only the rows that hold a match are needed, because p is zero in all others.

    Args:
        query_rows: (B, H, R, d) projected queries of ``reference.row_cells``.
        key: (B, H, N_k, d) projected keys.
        scale: the factor of Q·K, 1/√d.

    Returns:
        (B,) in float32 (float64 for float64 input); 0 for an image without a match.
    """
    dtype = torch.promote_types(query_rows.dtype, torch.float32)
    with torch.autocast(query_rows.device.type, enabled=False):
        return _CrossEntropy.apply(query_rows.to(dtype), key.to(dtype), scale, reference)


class _CrossEntropy(torch.autograd.Function):
    """Computes the gradient together with the value, a few rows at a time, so no scores are kept until backward.

    With s_rj = scale·Q_r·K_j, the loss of a row is −Σ_j p_rj log q_rj; its gradient with respect to s_rj is
    q_rj − p_rj.
    """

    @staticmethod
    def forward(ctx: Any, query_rows: Tensor, key: Tensor, scale: float, reference: SparseReference) -> Tensor:
        images, heads, rows, _ = query_rows.shape
        query = scale * query_rows
        share = (torch.arange(rows, device=key.device) < reference.rows[:, None]).to(key.dtype)  #  (B, R)
        share = share / (heads * reference.rows.clamp(min=1)[:, None])  # the weight of a row in the image's loss
        p = reference.weight.to(key.dtype)  #                                                       (E,)
        weight = p * share[reference.image, reference.row]
        loss = key.new_zeros(images)
        query_gradient, key_gradient = torch.empty_like(query), torch.zeros_like(key)
        for first in range(0, rows, ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            here = (reference.row >= first) & (reference.row < part.stop)
            entry = reference.image[here], slice(None), reference.row[here] - first, reference.key[here]
            log_q = (query[:, :, part] @ key.transpose(-1, -2)).log_softmax(dim=-1)  #  (B, H, r, N_k)
            loss.index_add_(0, reference.image[here], -weight[here] * log_q[entry].sum(dim=1))
            if any(ctx.needs_input_grad):
                gradient = log_q.exp_()
                gradient[entry] -= p[here, None]
                of_row = share[:, None, part, None]  #                                  (B, 1, r, 1)
                query_gradient[:, :, part] = scale * of_row * (gradient @ key)
                key_gradient += gradient.transpose(-1, -2) @ (of_row * query[:, :, part])
        ctx.save_for_backward(query_gradient, key_gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query_gradient, key_gradient = ctx.saved_tensors
        of_image = gradient.view(-1, 1, 1, 1)
        return of_image * query_gradient, of_image * key_gradient, None, None


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
    dtype = torch.promote_types(query.dtype, torch.float32)
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=dtype, device=key.device) for n in key_grid), indexing="ij")
    position = torch.stack([rows, columns], dim=-1).reshape(1, 1, -1, 2)  #          (1, 1, N_k, 2)
    # The positions take the place of the values, padded to the head width that fused attention requires.
    value = functional.pad(position, (0, key.shape[-1] - 2)).expand_as(key)  #       (B, H, N_k, d)
    with torch.autocast(query.device.type, enabled=False):
        attended = functional.scaled_dot_product_attention(
            query.to(dtype), key.to(dtype), value.contiguous(), scale=scale
        )
    position = attended[..., :2].mean(dim=1).unflatten(1, query_grid)  #             (B, h, w, 2)
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
