"""The optimisers of ``train.optimizer``, which differ in the memory that their state takes.

=========  =========================================================  ====================================
name       state for each trained value                               implementation
=========  =========================================================  ====================================
adamw      8 bytes: two moments in float32                            PyTorch, one fused kernel
adamw8bit  about 2 bytes: two moments in 8 bits, with a scale for     bitsandbytes (an extra)
           each block of 256
adafactor  rows and columns of the second moment alone: almost none   transformers
           for a matrix, 2.7 bytes for a 3 × 3 convolution
=========  =========================================================  ====================================
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from siftvton.errors import UsageError, first_line
from siftvton.training.config import OptimisationConfig

FUSED = ("cuda", "cpu")  # on a CPU, the fused kernel takes a sixth of the time and differs in the last bit


def optimizer_of(parameters: Iterable[nn.Parameter], settings: OptimisationConfig, device: torch.device) -> Optimizer:
    """The optimiser that ``settings`` names, for parameters on ``device``.

    Raises:
        UsageError: its library is missing, or cannot run on this machine.
    """
    parameters = list(parameters)
    rate, decay = settings.learning_rate, settings.weight_decay
    betas, epsilon = (settings.adam_beta1, settings.adam_beta2), settings.adam_epsilon
    if settings.optimizer == "adafactor":
        from transformers.optimization import Adafactor

        # The learning rate is ours, with its warm-up, and not Adafactor's own schedule.
        return Adafactor(parameters, lr=rate, weight_decay=decay, scale_parameter=False, relative_step=False)
    if settings.optimizer == "adamw8bit":
        return _adamw8bit()(parameters, lr=rate, betas=betas, eps=epsilon, weight_decay=decay)
    fused = device.type in FUSED
    return torch.optim.AdamW(parameters, lr=rate, betas=betas, eps=epsilon, weight_decay=decay, fused=fused)


def _adamw8bit() -> Any:
    """
    Raises:
        UsageError: bitsandbytes is not installed, or cannot be loaded.
    """
    try:
        from bitsandbytes.optim import AdamW8bit
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("bitsandbytes"):
            raise
        raise UsageError(
            "train.optimizer=adamw8bit requires bitsandbytes, which is not installed; run: pip install "
            "'siftvton[adamw8bit]', or set train.optimizer=adamw"
        ) from error
    except (ImportError, OSError, RuntimeError) as error:  # its compiled library does not fit this machine
        raise UsageError(
            f"train.optimizer=adamw8bit: bitsandbytes cannot be loaded on this machine ({first_line(error)}); set "
            "train.optimizer=adamw or adafactor"
        ) from error
    return AdamW8bit
