"""The identity of a run, and the data that it is trained on.

``<output>/run.json`` holds a random identity, which every checkpoint repeats. It also records everything except the
configuration that updates depend on: the pairs in their order, the content of their match files, the frozen
autoencoder, the frozen weights of a pretrained network, and the noise schedule. Pictures are compared only by their
sizes in bytes, because reading all of them takes minutes. If the size of a picture has changed, it is reported and
used, because a broken file may have been repaired. If the sizes of most pictures have changed, the data count as other
data. The data can move to another folder.
"""

import hashlib
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from diffusers import PNDMScheduler
from torch import Tensor, uint8

from siftvton.data.dataset import PERSON_KINDS, TryOnDataset
from siftvton.data.layouts.base import GARMENT, WORN_MASK
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair
from siftvton.devices import errors_shared, on_main
from siftvton.errors import InputError, UsageError, first_line
from siftvton.files import read_bytes, write_text
from siftvton.model.inputs import Autoencoder
from siftvton.training import manifest
from siftvton.training.guards import writing

RECORD = "run.json"
WAIT = 60.0  # seconds that a network file system may take to show one machine's files to another
DIGITS = 16  # hexadecimal digits kept of a match file's SHA-256, enough to detect a change


@dataclass(frozen=True)
class RunData:
    """The data that updates depend on.

    Attributes:
        pairs: ``person garment`` for each training pair. validation_pairs: the same for held-out pairs.
        matches: the digest of each training pair's match file; empty if the run reads no matches.
        pictures: for each kind, the size in bytes of each training pair's file.
        autoencoder, noise_schedule: digests; None if the run has none.
        frozen_weights: digest of the network's frozen weights; None if the run has none, or if an earlier version
            started it.
    """

    pairs: list[str]
    validation_pairs: list[str]
    matches: list[str]
    pictures: dict[str, list[int]]
    autoencoder: str | None = None
    noise_schedule: str | None = None
    frozen_weights: str | None = None


@dataclass(frozen=True)
class Identity:
    """The identity of a run.

    Attributes:
        id: 32 hexadecimal digits, drawn at the start of the run.
        data: the data of the run.
        unsigned: update of the newest checkpoint that an earlier version wrote without a manifest; −1: none.
        path: the file that records the identity.
    """

    id: str
    data: RunData
    unsigned: int = -1
    path: Path = field(default=Path(RECORD), compare=False)

    def require_own(self, checkpoint: Path, run: str) -> None:
        """Check that a checkpoint belongs to this run.

        Args:
            run: the identity in the checkpoint.

        Raises:
            InputError: the checkpoint was written by another run.
        """
        if run != self.id:
            raise InputError(
                f"{checkpoint}: belongs to another run ({run[:8]}…, but {self.path} says {self.id[:8]}…); move it out "
                "of the folder"
            )

    def allow_unsigned(self, checkpoint: Path) -> None:
        """Accept a checkpoint without a manifest if an earlier version wrote it, and print that it is not verified.

        Raises:
            InputError: the checkpoint is newer than those of the earlier version.
        """
        if manifest.update_of(checkpoint) > self.unsigned:
            raise InputError(
                f"{checkpoint}: has no {manifest.MANIFEST}, so it is incomplete or belongs to another run; move it out "
                "of the folder"
            )
        print(
            f"{checkpoint}: has no {manifest.MANIFEST}, because an earlier version wrote it; its files are not verified"
        )


def data_of(
    dataset: TryOnDataset,
    validation: Iterable[Pair],
    vae: Autoencoder | None = None,
    schedule: PNDMScheduler | None = None,
    frozen_weights: str | None = None,
) -> RunData:
    """The data that the updates of a run on this data set depend on.

    Args:
        validation: the held-out pairs.
        frozen_weights: digest of the network's frozen weights, if the run has any.

    Raises:
        InputError: a file is missing or cannot be read.
    """
    split, pairs = dataset.split, dataset.pairs
    kinds = (*PERSON_KINDS, WORN_MASK) if dataset.worn_mask else PERSON_KINDS
    try:
        pictures = {kind: [split.require(kind, pair.person).stat().st_size for pair in pairs] for kind in kinds}
        pictures[GARMENT] = [split.require(GARMENT, pair.garment).stat().st_size for pair in pairs]
        matches = (
            [_digest(read_bytes(matches_path(dataset.matches, pair.person))) for pair in pairs]
            if dataset.matches
            else []
        )
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({first_line(error)})") from error
    return RunData(
        _names(pairs),
        _names(validation),
        matches,
        pictures,
        None if vae is None else tensors_digest(vae.state_dict().items()),
        None if schedule is None else _noise_digest(schedule),
        frozen_weights,
    )


def claim(output: Path, data: Callable[[], RunData]) -> Identity:
    """The identity of the run in ``output``; a new one if there are no checkpoints. Every process calls this.

    Args:
        data: returns the present data of the run; only the main process calls it.

    Raises:
        UsageError: the run in ``output`` uses other data.
        InputError: the record is missing or damaged, or a process does not see it.
    """
    identity = on_main(lambda: _claimed(output, data(), manifest.saved(output)))
    with errors_shared():
        _require_shared(output, identity.id)
    return identity


def _claimed(output: Path, data: RunData, checkpoints: Sequence[Path]) -> Identity:
    path = output / RECORD
    if checkpoints and path.is_file():
        identity = _read(path)
        _compare(output, identity.data, data)
        return identity
    unsigned = -1
    for checkpoint in checkpoints:
        if (checkpoint / manifest.MANIFEST).exists():
            raise InputError(
                f"{path}: no such file, but {checkpoint} belongs to a run; copy the file from the folder that the "
                "checkpoint comes from, or choose another output"
            )
        unsigned = manifest.update_of(checkpoint)  # the newest comes last
    identity = Identity(secrets.token_hex(16), data, unsigned, path)
    content = {"id": identity.id, "unsigned": unsigned, "data": asdict(data)}
    with writing(path):
        write_text(path, json.dumps(content) + "\n")
    return identity


def _read(path: Path) -> Identity:
    try:
        with manifest.reading(path):
            content = json.loads(path.read_bytes())
        data = RunData(**content["data"])
        _require_lists(data)
        return Identity(str(content["id"]), data, int(content["unsigned"]), path)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: is damaged ({first_line(error)}); restore it from a copy, or choose another output"
        ) from error


def _require_lists(data: RunData) -> None:
    """Check the types and lengths of the entries.

    Raises:
        ValueError, AttributeError: an entry is not a list, or the numbers of pictures and pairs differ.
    """
    for name in ("pairs", "validation_pairs", "matches"):
        if not isinstance(getattr(data, name), list):
            raise ValueError(f"{name} is not a list")
    for kind, sizes in data.pictures.items():
        if not isinstance(sizes, list) or len(sizes) != len(data.pairs):
            raise ValueError(f"{kind} does not have one entry for each pair")


def _compare(output: Path, before: RunData, now: RunData) -> None:
    """Compare the data of a run with those of its start; print small changes of the pictures.

    Raises:
        UsageError: the data are other data.
    """
    names = [pair.partition(" ")[0] for pair in now.pairs]
    changes = []
    for entry in fields(RunData):
        old, new = getattr(before, entry.name), getattr(now, entry.name)
        if old == new or entry.name == "pictures" or (entry.name == "frozen_weights" and old is None):
            continue
        what = "frozen weights of model.pretrained" if entry.name == "frozen_weights" else entry.name.replace("_", " ")
        if entry.name == "matches" and len(old) == len(new) == len(names):
            what = (
                f"matches of {_some([name for name, one, other in zip(names, old, new, strict=True) if one != other])}"
            )
        elif isinstance(old, list) and len(old) != len(new):
            what = f"{what} ({len(old)} before, {len(new)} now)"
        changes.append(what)
    if not changes and before.pictures.keys() == now.pictures.keys():
        for kind, sizes in now.pictures.items():
            pairs = zip(names, before.pictures[kind], sizes, strict=True)
            other = [name for name, old, new in pairs if old != new]
            if 2 * len(other) > len(sizes):
                changes.append(f"{kind} of {_some(other)}")
            elif other:
                print(
                    f"{kind} of {_some(other)}: the file size has changed since the run in {output} was started; "
                    "the present files are used"
                )
    if changes:
        raise UsageError(
            f"{output} holds a run with other data ({', '.join(changes)}); restore the data, or choose another output"
        )


def _require_shared(output: Path, run: str) -> None:
    """Wait until this process sees the record of the main process.

    Raises:
        InputError: it does not see the record within ``WAIT`` seconds.
    """
    limit = time.monotonic() + WAIT
    while _id_seen(output) != run:
        if time.monotonic() > limit:
            raise InputError(
                f"{output}: process {os.environ.get('RANK', '0')} on {socket.gethostname()} does not see the files of "
                "the main process; use an output folder that all machines share"
            )
        time.sleep(0.5)


def _id_seen(output: Path) -> str | None:
    try:
        return str(json.loads((output / RECORD).read_bytes())["id"])
    except (OSError, ValueError):
        return None


def tensors_digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 of the names, types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(uint8).numpy().data)
    return digest.hexdigest()


def _noise_digest(schedule: PNDMScheduler) -> str:
    kind = f"{schedule.config.prediction_type} {schedule.config.num_train_timesteps}"
    return tensors_digest([(kind, schedule.alphas_cumprod)])


def _names(pairs: Iterable[Pair]) -> list[str]:
    return [f"{pair.person} {pair.garment}" for pair in pairs]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def _some(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
