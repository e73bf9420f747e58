"""The ``device`` key, whether there is anything but the CPU, and what several processes do together."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from siftvton.errors import InputError, UsageError, first_line

T = TypeVar("T")

# How long one process waits for the others. PyTorch's ten minutes are less than one process may take alone to score a
# validation, write several gigabytes or finish a larger share of the pictures.
PATIENCE = timedelta(hours=12)
SHARDING = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor, context or sequence parallelism",
    "ACCELERATE_USE_SAGEMAKER": "SageMaker's data parallelism",
}
NO = ("", "0", "false", "f", "no", "n", "off")  # what accelerate reads as no


def cpu_only() -> bool:
    """Whether this machine has no accelerator.

    accelerate has to be told: else it does not join several CPU processes, and each takes itself for the only one.
    """
    return not torch.accelerator.is_available()


def device_of(name: str | None) -> torch.device:
    """The device that the key ``device`` names; None: this process's GPU, or the CPU where there is none.

    Raises:
        UsageError: this machine has no such device.
    """
    if name is None:
        return PartialState(cpu=cpu_only()).device
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" holds no values
    except (RuntimeError, AssertionError, ImportError) as error:  # PyTorch asserts that it was built with CUDA
        raise UsageError(
            f"device={name} is not available on this machine; use e.g. cpu, or null for a GPU where there is one"
        ) from error
    return device


def refuse_sharding() -> None:
    """Refuse what saving, averaging and clipping the weights do not support: a network divided among processes.

    Raises:
        UsageError: accelerate's environment variables, which ``accelerate launch`` sets, ask for it.
    """
    for variable, name in SHARDING.items():
        value = os.environ.get(variable, "")
        if value.lower() not in NO:
            raise UsageError(
                f"{variable}={value}: {name} is not supported; start the processes with torchrun, or choose plain "
                "data parallelism in accelerate's configuration"
            )


def process_state() -> PartialState:
    """This process among the others; the processes join at the first call.

    Raises:
        UsageError: accelerate is configured to divide the network among processes.
    """
    refuse_sharding()
    return PartialState(cpu=cpu_only(), timeout=PATIENCE)


@contextmanager
def errors_shared() -> Iterator[None]:
    """Raise an error of one process on every process, so that none waits for one that has ended.

    Every process has to enter the block; inside it, no process waits for another.

    Raises:
        InputError, OSError: the block's own error; InputError: another process's.
    """
    failure: InputError | OSError | None = None
    try:
        yield
    except (InputError, OSError) as error:
        failure = error
    shown = InputError(first_line(failure)) if isinstance(failure, OSError) else failure  # an OSError may not pickle
    failures = [each for each in gather_object([shown]) if each is not None]
    if failure is not None:
        raise failure
    if failures:
        raise failures[0]


def on_main(decide: Callable[[], T]) -> T:
    """What ``decide`` returns on the main process, on every process; its error is raised on every process."""
    outcome: list[Any] = [None]
    with errors_shared():
        if PartialState().is_main_process:
            outcome[0] = decide()
    return broadcast_object_list(outcome)[0]
