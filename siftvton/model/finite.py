"""Whether weights are numbers: NaN and infinite values are found before they are used or saved."""

from collections.abc import Iterable

import torch
from torch import Tensor


def is_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite. One pass without a copy, except of 8-bit floats."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return True
    if tensor.element_size() == 1:  # no reduction is implemented for these
        tensor = tensor.float()
    low, high = torch.aminmax(tensor)  # both are NaN where any value is; a mask of isfinite takes ten times as long
    return bool(torch.isfinite(low) & torch.isfinite(high))


def first_not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first of the named tensors that holds a NaN or infinite value; None where none does."""
    return next((name for name, tensor in tensors if not is_finite(tensor)), None)
