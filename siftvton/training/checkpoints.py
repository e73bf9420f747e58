"""Checkpoints of a run: save, verify, find and load them, without running any code from a file.

A checkpoint is written under a temporary name, synced to disk and then renamed. A damaged checkpoint is renamed to
``unreadable-…`` and never deleted: a later start no longer takes it for the newest, and a person can still look at it.
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
from siftvton.training import manifest, sharding
from siftvton.training.guards import not_finite
from siftvton.training.identity import Identity
from siftvton.training.manifest import ABSENT, Damaged, Manifest, name_of, saved, update_of
from siftvton.wording import counted

PROGRESS, AVERAGE = "progress.json", "average.safetensors"
_MALFORMED = (RuntimeError, ValueError, KeyError, TypeError, EOFError, UnpicklingError, SafetensorError)
_OUT_OF_MEMORY = re.compile(r"out of memory|can(no|')t allocate memory|CUDA error", re.IGNORECASE)


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        update: number of completed updates.
        images: images per update, over all micro-batches and processes.
        best: the lowest unpaired score of the validations so far.
    """

    update: int
    images: int
    best: float | None = None


@dataclass(frozen=True)
class Learned:
    """What a run has learned: the network, the state of the optimiser and, if used, the average of the weights."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: EMAModel | None = None

    def tensors(self) -> dict[str, Tensor]:
        """The floating-point tensors that a checkpoint holds, by name; of a divided network, this process's shares."""
        tensors = {name: value for name, value in self.network.state_dict().items() if value.is_floating_point()}
        for place, state in enumerate(self.optimizer.state.values()):
            moments = {key: value for key, value in state.items() if isinstance(value, Tensor) and value.dim()}
            tensors |= {f"{key} {place}": value for key, value in moments.items() if value.is_floating_point()}
        return {name: sharding.local(value) for name, value in {**tensors, **_named(self.average)}.items()}


def save(accelerator: Accelerator, output: Path, progress: Progress, keep: int, run: str, learned: Learned) -> None:
    """Write ``checkpoints/update-<n>`` completely or not at all, and remove older ones. Every process calls this.

    The newest ``keep`` checkpoints stay, including this one. Checkpoints of this run from later updates, left by a
    start from a named checkpoint, are also removed.

    Args:
        run: the identity of the run.

    Raises:
        InputError: the checkpoint cannot be written; the earlier ones stay.
    """
    final = output / "checkpoints" / name_of(progress.update)
    beside = final.with_name(f".{final.name}")
    try:
        on_main(lambda: _make_room(beside, output))
        average = _write(accelerator, beside, final, output, learned)
        on_main(lambda: _finish(beside, final, output, progress, run, average))
    except InputError:
        if accelerator.is_main_process:
            shutil.rmtree(beside, ignore_errors=True)
        raise
    on_main(lambda: _rotate(final, keep, output, run))


def _write(accelerator: Accelerator, beside: Path, final: Path, output: Path, learned: Learned) -> dict[str, Tensor]:
    """Write weights and optimiser; returns the whole average on the main process."""
    average = _named(learned.average)
    if not accelerator.is_fsdp2:
        with errors_shared(), _written(final, output):
            accelerator.save_state(str(beside))
        return average
    main = accelerator.is_main_process
    weights = sharding.gathered(learned.network.state_dict(), keep=main)
    optimizer = sharding.gathered_state(learned.optimizer, keep=main)
    with errors_shared(), _written(final, output):
        if main:
            sharding.write(beside, weights, optimizer)
    return sharding.gathered(average, keep=main)


def _make_room(beside: Path, output: Path) -> None:
    """Remove what killed processes have left, and create the folder to write to."""
    with _written(beside, output):
        beside.parent.mkdir(parents=True, exist_ok=True)
        for leftover in beside.parent.glob(".update-*"):
            _remove(leftover)
        beside.mkdir()


def _finish(beside: Path, final: Path, output: Path, progress: Progress, run: str, average: dict[str, Tensor]) -> None:
    with _written(final, output):
        (beside / PROGRESS).write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
        if average:
            save_file(average, beside / AVERAGE)
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
                raise InputError(
                    f"{path}: cannot be removed ({first_line(error)}); remove it by hand: {newest} is complete"
                ) from error


def _belongs(checkpoint: Path, run: str) -> bool:
    """Whether a checkpoint belongs to this run, and was not put into the folder by a person or another run."""
    try:
        found = manifest.read(checkpoint)
    except (Damaged, InputError):
        return False
    return found is None or found.run == run


def _hidden(checkpoint: Path) -> Path:
    """Rename a checkpoint before it is deleted, so that a kill leaves no partial one; returns the new path."""
    hidden = checkpoint.with_name(f".{checkpoint.name}.old")
    checkpoint.rename(hidden)
    return hidden


def _remove(path: Path) -> None:
    """Delete a folder or a file; for a link, only the link."""
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
            f"{final}: cannot be written ({first_line(error)}); free some space or correct the folder's permissions, "
            "then run the same command again" + (f" to continue from {last[0]}, which is complete" if last else "")
        ) from error


def find(output: Path, resume: str | None) -> list[Path]:
    """The checkpoints to continue from, best first; empty for a new run.

    Args:
        resume: ``latest``, the name of a checkpoint, or None for a new run.

    Raises:
        UsageError: a new run was requested in a folder that already holds one.
        InputError: the named checkpoint does not exist, or the folder cannot be read.
    """
    try:
        checkpoints = saved(output)
    except OSError as error:
        raise InputError(
            f"{output / 'checkpoints'}: cannot be read ({first_line(error)}); nothing was changed"
        ) from error
    if resume is None:
        if checkpoints:
            raise UsageError(f"{output} holds a run; continue it with resume=latest, or choose another output")
        return []
    if resume == "latest":
        return checkpoints[::-1]
    path = output / "checkpoints" / resume
    if path not in checkpoints:
        names = ", ".join(checkpoint.name for checkpoint in checkpoints) or "none"
        raise InputError(f"resume={resume}: no such checkpoint in {output / 'checkpoints'}; it holds: {names}")
    return [path]


def restore(
    accelerator: Accelerator,
    candidates: list[Path],
    progress: Progress,
    identity: Identity,
    learned: Learned,
) -> None:
    """Load weights, optimiser, average and progress from the first undamaged candidate. Every process calls this.

    Damaged candidates are renamed to ``unreadable-…`` once another one has been loaded.

    Raises:
        InputError: all candidates are damaged, or one belongs to another run or cannot be read at the moment; then
            nothing is changed.
        UsageError: the updates of the run have another number of images.
    """
    reasons: dict[Path, str] = {}
    for checkpoint in candidates:
        reason = _read(accelerator, checkpoint, progress, identity, learned)
        if not reason:
            break
        reasons[checkpoint] = reason
        accelerator.print(f"{checkpoint}: cannot be resumed ({reason}); trying the checkpoint before it")
    else:
        lines = "; ".join(f"{checkpoint}: cannot be resumed ({reason})" for checkpoint, reason in reasons.items())
        raise InputError(f"{lines}; start again in another output")
    on_main(lambda: _set_aside(reasons))
    accelerator.step = 0  # checkpoints are written between updates, so the next update starts at micro-batch 0


def _read(accelerator: Accelerator, checkpoint: Path, progress: Progress, identity: Identity, learned: Learned) -> str:
    """Load one checkpoint; returns why it is damaged, or an empty text."""
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
    """Verify a checkpoint's files; returns its manifest, or why it is damaged; None if an earlier version wrote it."""
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
    """Load one checkpoint.

    Args:
        trusted: its files are verified, so a failure to load them does not mean damage.

    Raises:
        Damaged: a file is missing or malformed, or holds values that are NaN or infinite.
        InputError: the checkpoint cannot be read at the moment.
        UsageError: the updates of the run have another number of images.
    """
    average = learned.average
    try:
        with manifest.reading(checkpoint):
            found = _progress(checkpoint)
            if found.images != progress.images:
                raise UsageError(
                    f"train.batch_size × train.accumulation × processes = {progress.images}, but the updates of this "
                    f"run have {counted(found.images, 'image')}; choose values whose product is {found.images}"
                )
            if accelerator.is_fsdp2:
                sharding.read(checkpoint, learned.network, learned.optimizer)
            else:
                accelerator.load_state(str(checkpoint))
            if average is not None:
                tensors = load_file(checkpoint / AVERAGE)
                average.shadow_params = [
                    sharding.share_like(tensors[name], value) for name, value in _named(average).items()
                ]
                average.optimization_step = found.update
    except (*_MALFORMED, *ABSENT) as error:
        if trusted or _OUT_OF_MEMORY.search(str(error)):
            raise InputError(
                f"{checkpoint}: is complete, but cannot be loaded ({first_line(error)}); nothing was changed; if there "
                "was too little memory, free some, then run the same command again"
            ) from error
        raise Damaged(first_line(error)) from error
    bad = not_finite(learned.tensors())
    if bad:
        raise Damaged(f"{bad[0]} is NaN or infinite")
    progress.update, progress.best = found.update, found.best


def _progress(checkpoint: Path) -> Progress:
    found = Progress(**json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8")))
    if type(found.update) is not int or type(found.images) is not int or found.update != update_of(checkpoint):
        raise ValueError(f"{PROGRESS} does not belong to update {update_of(checkpoint)}")
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
                f"{checkpoint}: is damaged, but cannot be renamed to {aside.name} ({first_line(error)}); "
                "move it out of the folder"
            ) from error
        print(f"{checkpoint}: was renamed to {aside.name}; delete it when you no longer need it")


def _named(average: EMAModel | None) -> dict[str, Tensor]:
    if average is None:
        return {}
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
