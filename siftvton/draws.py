"""Random generators with keys.

A draw depends only on its key, e.g. ``(seed, epoch, index, "noise")``. It does not depend on the batch size, on the
number of workers or processes, or on whether the run was stopped in between.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_of(*key: int | str) -> int:
    """Return a 63-bit seed for a sequence of integers and strings; it is the same on every machine."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def torch_generator(*key: int | str) -> torch.Generator:
    """Return a CPU generator for ``key``. Draw on the CPU, then move the numbers, so that all devices get the same."""
    import torch  # imported here, since preprocessing workers do not need it: it takes half a gigabyte in each

    return torch.Generator().manual_seed(seed_of(*key))


def numpy_generator(*key: int | str) -> np.random.Generator:
    return np.random.default_rng(seed_of(*key))
