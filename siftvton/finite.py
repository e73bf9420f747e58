"""Checks for NaN and infinite values in weights, made before the weights are used or saved."""

from collections.abc import Iterable

import torch
from torch import Tensor


def is_finite(tensor: Tensor) -> bool:
    """Whether every value is finite. Needs one pass and no copy, except for 8-bit floats."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    if tensor.element_size() == 1:  # PyTorch has no reductions for these types
        tensor = tensor.float()
    low, high = torch.aminmax(tensor)  # both are NaN if any value is; a mask by isfinite takes ten times as long
    return bool(torch.isfinite(low) & torch.isfinite(high))


def first_not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first tensor that holds a NaN or infinite value; None if all are finite."""
    return next((name for name, tensor in tensors if not is_finite(tensor)), None)
