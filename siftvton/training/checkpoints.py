"""Checkpoints of a run: written beside, synced and renamed; verified, found again, none of it able to run code.

A checkpoint that is found damaged is renamed to ``unreadable-…`` and never deleted: it no longer counts, so that a
later start does not take it for the newest, and a person can still look at it.
"""

import itertools
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from siftvton.devices import errors_shared, on_main
from siftvton.errors import InputError, UsageError, first_line
from siftvton.training import manifest
from siftvton.training.guards import not_finite
from siftvton.training.identity import Identity
from siftvton.training.manifest import ABSENT, Damaged, Manifest, name_of, saved, update_of

PROGRESS, AVERAGE = "progress.json", "average.safetensors"
_MALFORMED = (RuntimeError, ValueError, KeyError, TypeError, EOFError, UnpicklingError, SafetensorError)
_OUT_OF_MEMORY = re.compile(r"out of memory|can(no|')t allocate memory|CUDA error", re.IGNORECASE)


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


@dataclass(frozen=True)
class Learned:
    """What a run has learned: the network, its optimiser's state and, where there is one, the weights' average."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: EMAModel | None = None

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it, by name."""
        tensors = {name: value for name, value in self.network.state_dict().items() if value.is_floating_point()}
        for place, state in enumerate(self.optimizer.state.values()):
            tensors |= {f"{key} {place}": state[key] for key in ("exp_avg", "exp_avg_sq") if key in state}
        return tensors if self.average is None else {**tensors, **_named(self.average)}


def save(accelerator: Accelerator, output: Path, progress: Progress, keep: int, run: str, learned: Learned) -> None:
    """Write ``checkpoints/update-<n>`` whole, then drop all but the newest ``keep`` up to it. Every process calls this.

    Later ones of this run, which a start from a named checkpoint has left behind, are dropped as well.

    Args:
        run: the run's identity.

    Raises:
        InputError: it cannot be written; the ones before stay.
    """
    final = output / "checkpoints" / name_of(progress.update)
    beside = final.with_name(f".{final.name}")
    try:
        on_main(lambda: _make_room(beside, output))
        with errors_shared(), _written(final, output):
            accelerator.save_state(str(beside))
        on_main(lambda: _finish(beside, final, output, progress, run, learned.average))
    except InputError:
        if accelerator.is_main_process:
            shutil.rmtree(beside, ignore_errors=True)
        raise
    on_main(lambda: _rotate(final, keep, output, run))


def _make_room(beside: Path, output: Path) -> None:
    """Remove what killed processes have left, and make the folder to write to."""
    with _written(beside, output):
        beside.parent.mkdir(parents=True, exist_ok=True)
        for leftover in beside.parent.glob(".update-*"):
            _remove(leftover)
        beside.mkdir()


def _finish(beside: Path, final: Path, output: Path, progress: Progress, run: str, average: EMAModel | None) -> None:
    with _written(final, output):
        (beside / PROGRESS).write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
        if average is not None:
            save_file(_named(average), beside / AVERAGE)
        manifest.seal(beside, run, progress.update)
        _sync(beside)
        replaced = _hidden(final) if os.path.lexists(final) else None
        beside.rename(final)
        _sync_folder(final.parent)
        if replaced is not None:
            _remove(replaced)


def _rotate(newest: Path, keep: int, output: Path, run: str) -> None:
    found = saved(output)
    place = found.index(newest) + 1
    for path in found[: max(0, place - keep)] + found[place:]:
        if _belongs(path, run):
            try:
                _remove(_hidden(path))
            except OSError as error:
                raise InputError(f"{path}: cannot be removed ({first_line(error)}); {newest} is whole") from error


def _belongs(checkpoint: Path, run: str) -> bool:
    """Whether it is this run's, and not a person's or another run's that was put into the folder."""
    try:
        found = manifest.read(checkpoint)
    except (Damaged, InputError):
        return False
    return found is None or found.run == run


def _hidden(checkpoint: Path) -> Path:
    """Rename a checkpoint, so that a kill while it is deleted leaves no half of one; returns where it is now."""
    hidden = checkpoint.with_name(f".{checkpoint.name}.old")
    checkpoint.rename(hidden)
    return hidden


def _remove(path: Path) -> None:
    """Delete a folder; of a link, the link alone."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)


@contextmanager
def _written(final: Path, output: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # PyTorch's writer raises RuntimeError
        last = saved(output)[-1:]
        raise InputError(
            f"{final}: cannot be written ({first_line(error)}); free space or correct the folder's permissions, then "
            + (f"the same command continues from {last[0]}, which is whole" if last else "run the same command again")
        ) from error


def find(output: Path, resume: str | None) -> list[Path]:
    """The checkpoints to continue from, the best first; empty for a fresh start.

    Raises:
        UsageError: a fresh start is asked for in a folder that holds a run.
        InputError: the named checkpoint is not there, or the folder cannot be read.
    """
    try:
        checkpoints = saved(output)
    except OSError as error:
        raise InputError(
            f"{output / 'checkpoints'}: cannot be read ({first_line(error)}); nothing was changed"
        ) from error
    if resume is None:
        if checkpoints:
            raise UsageError(f"{output} holds a run; use resume=latest to continue it, or choose another output")
        return []
    if resume == "latest":
        return checkpoints[::-1]
    path = output / "checkpoints" / resume
    if path not in checkpoints:
        names = ", ".join(checkpoint.name for checkpoint in checkpoints) or "none"
        raise InputError(f"resume={resume}: no such checkpoint in {output / 'checkpoints'}; there are: {names}")
    return [path]


def restore(
    accelerator: Accelerator,
    candidates: list[Path],
    progress: Progress,
    identity: Identity,
    learned: Learned,
) -> None:
    """Read weights, optimiser, average and progress of the first candidate that is whole. Every process calls this.

    Candidates that are damaged are renamed to ``unreadable-…`` once a later one has been read.

    Raises:
        InputError: every candidate is damaged, or one belongs to another run or cannot be read at the moment; then
            nothing is changed.
        UsageError: its updates have another number of images.
    """
    reasons: dict[Path, str] = {}
    for checkpoint in candidates:
        reason = _read(accelerator, checkpoint, progress, identity, learned)
        if not reason:
            break
        reasons[checkpoint] = reason
        accelerator.print(f"{checkpoint}: cannot be resumed ({reason}); trying the one before")
    else:
        lines = "; ".join(f"{checkpoint}: cannot be resumed ({reason})" for checkpoint, reason in reasons.items())
        raise InputError(f"{lines}; start again in another output")
    on_main(lambda: _set_aside(reasons))
    accelerator.step = 0  # a checkpoint lies between updates, however many micro-batches they have now


def _read(accelerator: Accelerator, checkpoint: Path, progress: Progress, identity: Identity, learned: Learned) -> str:
    """Read one checkpoint; returns why it is damaged, or nothing."""
    verified = on_main(lambda: _verified(checkpoint, identity))
    if isinstance(verified, str):
        return verified
    reason = ""
    with errors_shared():
        try:
            _load(accelerator, checkpoint, progress, learned, trusted=verified is not None)
        except Damaged as error:
            reason = str(error)
    found = [each for each in gather_object([reason]) if each]
    return found[0] if found else ""


def _verified(checkpoint: Path, identity: Identity) -> Manifest | str | None:
    """The checkpoint's manifest, its files being as it says; or why it is damaged; None for an earlier version's."""
    try:
        found = manifest.read(checkpoint)
        if found is None:
            identity.allow_unsigned(checkpoint)
            return None
        identity.require_own(checkpoint, found.run)
        if found.update != update_of(checkpoint):
            raise Damaged(f"it was written as update {found.update}")
        manifest.verify(checkpoint, found)
    except Damaged as error:
        return str(error)
    return found


def _load(accelerator: Accelerator, checkpoint: Path, progress: Progress, learned: Learned, trusted: bool) -> None:
    """Read one checkpoint.

    Args:
        trusted: its files are as they were written, so that no failure is damage.

    Raises:
        Damaged: a file is missing or malformed, or holds values that are NaN or infinite.
        InputError: it cannot be read at the moment.
        UsageError: its updates have another number of images.
    """
    average = learned.average
    try:
        with manifest.reading(checkpoint):
            found = _progress(checkpoint)
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
    except (*_MALFORMED, *ABSENT) as error:
        if trusted or _OUT_OF_MEMORY.search(str(error)):
            raise InputError(
                f"{checkpoint}: is whole, but cannot be loaded ({first_line(error)}); nothing was changed: free memory "
                "if there was too little, then run the same command again"
            ) from error
        raise Damaged(first_line(error)) from error
    bad = not_finite(learned.tensors())
    if bad:
        raise Damaged(f"{bad[0]} is NaN or infinite")
    progress.update, progress.best = found.update, found.best


def _progress(checkpoint: Path) -> Progress:
    found = Progress(**json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8")))
    if type(found.update) is not int or type(found.images) is not int or found.update != update_of(checkpoint):
        raise ValueError(f"{PROGRESS} does not say update {update_of(checkpoint)}")
    return found


def _set_aside(damaged: Iterable[Path]) -> None:
    for checkpoint in damaged:
        name = f"unreadable-{checkpoint.name}"
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        aside = next(path for each in names if not os.path.lexists(path := checkpoint.with_name(each)))
        try:
            checkpoint.rename(aside)
        except OSError as error:
            raise InputError(
                f"{checkpoint}: damaged, but cannot be renamed to {aside.name} ({first_line(error)})"
            ) from error
        print(f"{checkpoint}: is now called {aside.name}; delete it when nobody needs it")


def _named(average: EMAModel) -> dict[str, Tensor]:
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
