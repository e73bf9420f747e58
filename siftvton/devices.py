"""The device that the ``device`` key names, and decisions and errors that several processes share."""

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

# How long one process waits for the others. PyTorch's default of ten minutes is too short: one process alone may need
# longer to score a validation, write several gigabytes or finish a larger share of the pictures.
PATIENCE = timedelta(hours=12)
FSDP = "ACCELERATE_USE_FSDP"
SHARDING = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    FSDP: "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "tensor, context or sequence parallelism",
    "ACCELERATE_USE_SAGEMAKER": "SageMaker's data parallelism",
}
NO = ("", "0", "false", "f", "no", "n", "off")  # values that accelerate reads as no


def cpu_only() -> bool:
    """Whether this machine has no accelerator.

    accelerate must be told this. Otherwise it does not join several CPU processes, and each acts as the only one.
    """
    return not torch.accelerator.is_available()


def device_of(name: str | None) -> torch.device:
    """Return the device that the key ``device`` names; None: this process's GPU, or the CPU if there is no GPU.

    Raises:
        UsageError: this machine has no such device.
    """
    if name is None:
        return PartialState(cpu=cpu_only()).device
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # fails for "meta", which holds no values
    except (RuntimeError, AssertionError, ImportError) as error:  # PyTorch asserts that it was built with CUDA
        raise UsageError(
            f"device={name} is not available on this machine; use e.g. cpu, or null for the GPU if there is one"
        ) from error
    return device


def ready_device(name: str | None) -> torch.device:
    """Return the device that the key ``device`` names, as :func:`device_of`; set PyTorch up to compute on it.

    Raises:
        UsageError: this machine has no such device.
    """
    device = device_of(name)
    set_up_gpu(device)
    return device


def set_up_gpu(device: torch.device) -> None:
    """Choose how PyTorch computes on a GPU; on a CPU this does nothing.

    Float32 matrices are multiplied in TF32, which keeps 10 bits of the mantissa, as convolutions are anyway. cuDNN's
    attention is not used: on an H100, with PyTorch 2.11 and bfloat16, its backward pass returned NaN for finite
    inputs. PyTorch's own fused attention takes its place.
    """
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cuda.enable_cudnn_sdp(False)


def is_yes(value: str) -> bool:
    """Whether the value of an environment variable is none that accelerate reads as no."""
    return value.lower() not in NO


def refuse_sharding(but: str | None = None) -> None:
    """Refuse a network that is divided among processes: weights could not be saved, averaged or clipped.

    Args:
        but: a variable that is allowed.

    Raises:
        UsageError: accelerate's environment variables, which ``accelerate launch`` sets, ask for such a division.
    """
    for variable, name in SHARDING.items():
        value = os.environ.get(variable, "")
        if is_yes(value) and variable != but:
            raise UsageError(
                f"{variable}={value}: {name} is not supported; start the processes with torchrun, or choose plain "
                "data parallelism in accelerate's configuration"
            )


def process_state() -> PartialState:
    """Return the state of this process among all processes of the run; they join at the first call.

    Raises:
        UsageError: accelerate is configured to divide the network among processes.
    """
    refuse_sharding()
    return PartialState(cpu=cpu_only(), timeout=PATIENCE)


@contextmanager
def errors_shared() -> Iterator[None]:
    """Raise an error of one process on every process, so that no process waits for one that has ended.

    Every process must enter the block; inside it, no process may wait for another.

    Raises:
        InputError, OSError: this process's own error. InputError: the error of another process.
    """
    failure: InputError | OSError | None = None
    try:
        yield
    except (InputError, OSError) as error:
        failure = error
    # An OSError cannot always be pickled.
    shown = InputError(first_line(failure)) if isinstance(failure, OSError) else failure
    failures = [each for each in gather_object([shown]) if each is not None]
    if failure is not None:
        raise failure
    if failures:
        raise failures[0]


def on_main(decide: Callable[[], T]) -> T:
    """Call ``decide`` on the main process only; return its result, or raise its error, on every process."""
    outcome: list[Any] = [None]
    with errors_shared():
        if PartialState().is_main_process:
            outcome[0] = decide()
    return broadcast_object_list(outcome)[0]
