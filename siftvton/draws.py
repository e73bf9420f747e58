"""Random generators keyed by what they draw for.

A draw depends on its key alone, e.g. ``(seed, epoch, index, "noise")``: not on the batch size, the number of
workers or processes, or on a stop in between.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_of(*key: int | str) -> int:
    """A 63-bit seed, the same on every machine, from a sequence of integers and strings."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_generator(*key: int | str) -> torch.Generator:
    """A CPU generator for ``key``; draw on the CPU, then move, so that every device sees the same numbers."""
    import torch  # here, since preprocessing's workers do without: half a gigabyte each

    return torch.Generator().manual_seed(seed_of(*key))


def numpy_generator(*key: int | str) -> np.random.Generator:
    return np.random.default_rng(seed_of(*key))
