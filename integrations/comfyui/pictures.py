"""ComfyUI's pictures and masks <-> the library's arrays.

B images, height H, width W. An IMAGE is float (B, H, W, 3), or (B, H, W, 4) with the opacity last; a MASK is float
(B, H, W), 1 where something is masked. The values are between 0 and 1. The library has uint8 without B.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from siftvton.errors import InputError

CHANNELS = (3, 4)


def pixels(image: Tensor, name: str) -> np.ndarray:
    """Return an IMAGE as (H, W, 3) or (H, W, 4) uint8.

    Args:
        image: ComfyUI's IMAGE.
        name: the node's input, for the message.

    Raises:
        InputError: it is a batch, has another number of channels, or holds NaN or infinite values.
    """
    if image.shape[-1] not in CHANNELS:
        raise InputError(f"{name}: has {image.shape[-1]} channels; give a picture in colour")
    return _levels(_single(image, name))


def colours(image: Tensor, name: str) -> np.ndarray:
    """Return an IMAGE as (H, W, 3) uint8, without its opacity; arguments and errors as for :func:`pixels`."""
    return np.ascontiguousarray(pixels(image, name)[:, :, :3])


def mask_levels(mask: Tensor, name: str) -> np.ndarray:
    """Return a MASK as (H, W) uint8; arguments as for :func:`pixels`.

    Raises:
        InputError: it is a batch, holds NaN or infinite values, or masks nothing.
    """
    levels = _levels(_single(mask if mask.ndim == 3 else mask[None], name))
    if not levels.any():
        raise InputError(
            f"{name}: masks nothing (Load Image gives such a mask for a picture without transparency); paint a mask, "
            "or disconnect this input"
        )
    return levels


def batch_of_one(picture: np.ndarray) -> Tensor:
    """Return (H, W, 3) uint8 as an IMAGE; (H, W) uint8 becomes a MASK."""
    return torch.from_numpy(picture).float().div(255)[None]


def _single(batch: Tensor, name: str) -> Tensor:
    if len(batch) != 1:
        raise InputError(
            f"{name}: is a batch of {len(batch)} pictures; give one picture (Get Image from Batch takes one out)"
        )
    if not torch.isfinite(batch).all():
        raise InputError(f"{name}: holds values that are NaN or infinite; correct the node that made it")
    return batch[0]


def _levels(values: Tensor) -> np.ndarray:
    return values.float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().numpy()
