"""The weights with which the golden values were made. Each is drawn from its parameter's name; no checkpoint is needed.

``numpy.random.RandomState`` is used because its stream never changes.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def tensor(name: str, shape: list[int]) -> Tensor:
    """Matrices and kernels are scaled by the fan-in; normalisation weights are near 1, all other vectors near 0."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        values /= math.sqrt(math.prod(shape[1:]))
    elif name.endswith(".weight"):
        values = 1.0 + 0.1 * values
    else:
        values = 0.02 * values
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def state_dict(manifest: Path) -> dict[str, Tensor]:
    """Every tensor that a manifest (name -> shape) lists."""
    return {name: tensor(name, shape) for name, shape in json.loads(manifest.read_text()).items()}
