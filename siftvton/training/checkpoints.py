"""Checkpoints of a run: written beside and renamed, counted, found again."""

import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from accelerate import Accelerator
from safetensors import SafetensorError

from siftvton.errors import InputError, UsageError


class Progress:
    """How many updates are done, and of how many images each; saved with the weights and the optimiser."""

    def __init__(self, images: int) -> None:
        """``images``: an update's, over all micro-batches and processes."""
        self.update = 0
        self.images = images

    def state_dict(self) -> dict[str, Any]:
        return {"update": self.update, "images": self.images}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["images"] != self.images:
            raise UsageError(
                f"train.batch_size × train.accumulation × processes = {self.images}, the run's updates have "
                f"{state['images']} images; only that product is allowed"
            )
        self.update = state["update"]


def saved(output: Path) -> list[Path]:
    """A run's checkpoints, oldest first."""
    return sorted((output / "checkpoints").glob("update-*"))


def save(accelerator: Accelerator, output: Path, progress: Progress, keep: int) -> None:
    """Write ``checkpoints/update-<n>`` whole, then drop all but the newest ``keep``. Every process calls this."""
    final = output / "checkpoints" / f"update-{progress.update:07d}"
    beside = final.with_name(f".{final.name}")
    if accelerator.is_main_process and beside.exists():
        shutil.rmtree(beside)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(beside))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if final.exists():
            shutil.rmtree(final)
        beside.rename(final)
        for old in saved(output)[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def find(output: Path, resume: str | None) -> Path | None:
    """The checkpoint to go on from; None for a fresh start.

    Raises:
        UsageError: a fresh start is asked for in a folder that holds a run.
        InputError: the named checkpoint is not there.
    """
    checkpoints = saved(output)
    if resume is None:
        if checkpoints:
            raise UsageError(f"{output} holds a run; resume=latest goes on with it, or name another output")
        return None
    if resume == "latest":
        return checkpoints[-1] if checkpoints else None
    path = output / "checkpoints" / resume
    if not path.is_dir():
        names = ", ".join(checkpoint.name for checkpoint in checkpoints) or "none"
        raise InputError(f"resume={resume}: no such checkpoint in {output / 'checkpoints'}; there are: {names}")
    return path


def restore(accelerator: Accelerator, output: Path, checkpoint: Path) -> None:
    """Read weights, optimiser, learning-rate schedule and progress back; later checkpoints are dropped.

    Raises:
        InputError: the checkpoint is damaged or of another shape.
        UsageError: its updates have another number of images.
    """
    try:
        accelerator.load_state(str(checkpoint))
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{checkpoint}: cannot be resumed ({reason}); remove it to use the one before") from error
    if accelerator.is_main_process:
        for later in saved(output):
            if later.name > checkpoint.name:
                shutil.rmtree(later)
    accelerator.wait_for_everyone()
