"""Checkpoints of a run: written beside, synced and renamed; counted, found again, none of it able to run code."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError

from accelerate import Accelerator
from accelerate.utils import gather_object
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from siftvton.errors import InputError, UsageError

PROGRESS, AVERAGE = "progress.json", "average.safetensors"
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, UnpicklingError, SafetensorError)


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        update: how many updates are done. images: of how many images each, over all micro-batches and processes.
        best: the lowest unpaired score of a validation so far.
    """

    update: int
    images: int
    best: float | None = None


def saved(output: Path) -> list[Path]:
    """A run's checkpoints, oldest first."""
    return sorted((output / "checkpoints").glob("update-*"))


def save(
    accelerator: Accelerator, output: Path, progress: Progress, keep: int, average: EMAModel | None = None
) -> None:
    """Write ``checkpoints/update-<n>`` whole, then drop all but the newest ``keep``. Every process calls this.

    Raises:
        InputError: it cannot be written; the ones before stay.
    """
    final = output / "checkpoints" / f"update-{progress.update:07d}"
    beside = final.with_name(f".{final.name}")
    if accelerator.is_main_process and beside.exists():
        shutil.rmtree(beside)
    accelerator.wait_for_everyone()
    failure = ""
    try:
        accelerator.save_state(str(beside))
        if accelerator.is_main_process:
            (beside / PROGRESS).write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
            if average is not None:
                save_file(_named(average), beside / AVERAGE)
            _sync(beside)
    except (OSError, RuntimeError, SafetensorError) as error:  # PyTorch's writer raises RuntimeError
        failure = _first_line(error)
    failures = [each for each in gather_object([failure]) if each]
    if accelerator.is_main_process:
        if failures:
            shutil.rmtree(beside, ignore_errors=True)
        else:
            if final.exists():
                shutil.rmtree(final)
            beside.rename(final)
            _sync_folder(final.parent)
            for old in saved(output)[:-keep]:
                shutil.rmtree(old)
    accelerator.wait_for_everyone()
    if failures:
        last = saved(output)[-1:]
        raise InputError(
            f"{final}: cannot be written ({failures[0]}); "
            + (f"{last[0]} is whole, and the same command goes on from it" if last else "none was written before it")
        )


def find(output: Path, resume: str | None) -> list[Path]:
    """The checkpoints to go on from, the best first; empty for a fresh start.

    Raises:
        UsageError: a fresh start is asked for in a folder that holds a run.
        InputError: the named checkpoint is not there.
    """
    checkpoints = saved(output)
    if resume is None:
        if checkpoints:
            raise UsageError(f"{output} holds a run; resume=latest goes on with it, or name another output")
        return []
    if resume == "latest":
        return checkpoints[::-1]
    path = output / "checkpoints" / resume
    if not path.is_dir():
        names = ", ".join(checkpoint.name for checkpoint in checkpoints) or "none"
        raise InputError(f"resume={resume}: no such checkpoint in {output / 'checkpoints'}; there are: {names}")
    return [path]


def restore(
    accelerator: Accelerator, output: Path, candidates: list[Path], progress: Progress, average: EMAModel | None = None
) -> None:
    """Read weights, optimiser, average and progress of the first candidate that is whole; later ones are dropped.

    Raises:
        InputError: every candidate is damaged or of another shape.
        UsageError: its updates have another number of images.
    """
    reasons: list[str] = []
    for checkpoint in candidates:
        failure = _read(accelerator, checkpoint, progress, average)
        failures = [each for each in gather_object([failure]) if each]
        if not failures:
            break
        reasons.append(f"{checkpoint}: cannot be resumed ({failures[0]})")
        accelerator.print(f"{reasons[-1]}; trying the one before")
    else:
        raise InputError("; ".join(reasons) + "; remove the run's checkpoints to start afresh")
    if accelerator.is_main_process:
        for later in saved(output):
            if later.name > checkpoint.name:
                shutil.rmtree(later)
    accelerator.wait_for_everyone()


def _read(accelerator: Accelerator, checkpoint: Path, progress: Progress, average: EMAModel | None) -> str:
    """Read one checkpoint; returns why it cannot be, or nothing."""
    try:
        found = Progress(**json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8")))
        if found.images != progress.images:
            raise UsageError(
                f"train.batch_size × train.accumulation × processes = {progress.images}, the run's updates have "
                f"{found.images} images; only that product is allowed"
            )
        accelerator.load_state(str(checkpoint))
        if average is not None:
            tensors = load_file(checkpoint / AVERAGE, device=str(accelerator.device))
            average.shadow_params = [tensors[name] for name in _named(average)]
            average.optimization_step = found.update
    except _DAMAGE as error:
        return _first_line(error) or type(error).__name__
    progress.update, progress.best = found.update, found.best
    return ""


def _named(average: EMAModel) -> dict:
    return {f"{place:05d}": tensor for place, tensor in enumerate(average.shadow_params)}


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
