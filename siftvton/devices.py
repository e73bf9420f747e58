"""The ``device`` key, and whether there is anything but the CPU."""

import torch

from siftvton.errors import UsageError


def cpu_only() -> bool:
    """Whether this machine has no accelerator.

    accelerate has to be told: else it does not join several CPU processes, and each takes itself for the only one.
    """
    return not torch.accelerator.is_available()


def named_device(name: str | None) -> torch.device:
    """The device of that name; None: a GPU where there is one.

    Raises:
        UsageError: this machine has none of that name.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # PyTorch asserts that it was built with CUDA
        raise UsageError(
            f"device={name}: not on this machine; e.g. cpu, or null for a GPU where there is one"
        ) from error
    return device
