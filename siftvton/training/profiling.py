"""Profile some updates by PyTorch's profiler, through accelerate."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import ProfileKwargs

from siftvton.errors import UsageError
from siftvton.training.guards import writing

# The first update allocates memory; in the second, the profiler itself starts. Neither is in the trace.
BEFORE = {"wait": 1, "warmup": 1}


@contextmanager
def profiled(accelerator: Accelerator, updates: int, folder: Path) -> Iterator[Callable[[], None]]:
    """Record updates inside the block and write a trace for each process as soon as they are complete.

    Chrome's page ``about:tracing`` and Perfetto show such a trace.

    Args:
        updates: number of updates to record, after the first two; 0: none.

    Yields:
        A function to call after each update.

    Raises:
        InputError: the trace cannot be written.
    """
    if not updates:
        yield lambda: None
        return
    write = torch.profiler.tensorboard_trace_handler(str(folder), f"process-{accelerator.process_index}", use_gzip=True)

    def write_trace(profile: torch.profiler.profile) -> None:
        with writing(folder):
            write(profile)
        accelerator.print(f"{folder}: the trace of the profiled updates is written")

    schedule = {**BEFORE, "active": updates, "repeat": 1}
    with accelerator.profile(ProfileKwargs(schedule_option=schedule, on_trace_ready=write_trace)) as profile:
        yield profile.step


def require_updates(profile_updates: int, updates: int) -> None:
    """Check that a run is long enough.

    Raises:
        UsageError: the updates to profile, and those before, are more than the run has.
    """
    needed = profile_updates + sum(BEFORE.values())
    if profile_updates and updates < needed:
        raise UsageError(
            f"train.profile_updates={profile_updates} requires a run of {needed} updates or more, but this one has "
            f"{updates}; raise train.updates or train.epochs, or set train.profile_updates=0"
        )
