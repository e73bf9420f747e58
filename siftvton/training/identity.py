"""A run's identity, and the data that it is trained on.

``<output>/run.json`` holds a random identity, which each checkpoint repeats, and what an update computes from besides
the configuration: the pairs in their order, the content of their match files, the frozen autoencoder and the noise
schedule. Pictures are compared by their sizes in bytes, since reading all of them takes minutes. A picture of another
size is named and used, because a broken one may have been mended; where most are of another size, the data are others.
The data may move to another folder.
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

from diffusers import AutoencoderKL, PNDMScheduler
from torch import Tensor, uint8

from siftvton.data.dataset import PERSON_KINDS, TryOnDataset
from siftvton.data.layouts.base import GARMENT, WORN_MASK
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair
from siftvton.devices import errors_shared, on_main
from siftvton.errors import InputError, UsageError, first_line
from siftvton.files import read_bytes, write_text
from siftvton.training import manifest
from siftvton.training.guards import writing

RECORD = "run.json"
WAIT = 60.0  # seconds that a network file system may take to show one machine another's files
DIGITS = 16  # of a match file's SHA-256: enough to see a change


@dataclass(frozen=True)
class RunData:
    """What an update computes from.

    Attributes:
        pairs: ``person garment`` of each training pair. validation_pairs: the same, held out.
        matches: the digest of each training pair's match file; empty where none are read.
        pictures: kind -> the size in bytes of each training pair's file.
        autoencoder, noise_schedule: digests; None where the run has none.
    """

    pairs: list[str]
    validation_pairs: list[str]
    matches: list[str]
    pictures: dict[str, list[int]]
    autoencoder: str | None = None
    noise_schedule: str | None = None


@dataclass(frozen=True)
class Identity:
    """A run.

    Attributes:
        id: 32 hexadecimal digits, drawn at the run's start.
        unsigned: the newest checkpoint of an earlier version, which wrote no manifests; −1: none.
    """

    id: str
    data: RunData
    unsigned: int = -1
    path: Path = field(default=Path(RECORD), compare=False)

    def require_own(self, checkpoint: Path, run: str) -> None:
        """
        Raises:
            InputError: the checkpoint was written by another run.
        """
        if run != self.id:
            raise InputError(
                f"{checkpoint}: belongs to another run ({run[:8]}…, {self.path} says {self.id[:8]}…); move it out of "
                "the folder"
            )

    def allow_unsigned(self, checkpoint: Path) -> None:
        """Say that a checkpoint without a manifest cannot be verified.

        Raises:
            InputError: it cannot be an earlier version's checkpoint of this run.
        """
        if manifest.update_of(checkpoint) > self.unsigned:
            raise InputError(
                f"{checkpoint}: has no {manifest.MANIFEST}, so it is incomplete or of another run; move it out of the "
                "folder"
            )
        print(f"{checkpoint}: has no {manifest.MANIFEST}, as an earlier version wrote it; its files are not verified")


def data_of(
    dataset: TryOnDataset,
    validation: Iterable[Pair],
    vae: AutoencoderKL | None = None,
    schedule: PNDMScheduler | None = None,
) -> RunData:
    """What a run on this data set computes from.

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
    )


def claim(output: Path, data: Callable[[], RunData]) -> Identity:
    """The identity of the run in ``output``, which is a new one without checkpoints. Every process calls this.

    Args:
        data: what the run is on now; the main process asks.

    Raises:
        UsageError: the run in ``output`` is on other data.
        InputError: the record is missing or damaged, or another process does not see it.
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
                f"{path}: no such file, though {checkpoint} belongs to a run; copy it from the folder that the "
                "checkpoint comes from, or name another output"
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
            f"{path}: is damaged ({first_line(error)}); restore it from a copy, or name another output"
        ) from error


def _require_lists(data: RunData) -> None:
    """
    Raises:
        ValueError, AttributeError: an entry is no list, or there are not as many pictures as pairs.
    """
    for name in ("pairs", "validation_pairs", "matches"):
        if not isinstance(getattr(data, name), list):
            raise ValueError(f"{name} is no list")
    for kind, sizes in data.pictures.items():
        if not isinstance(sizes, list) or len(sizes) != len(data.pairs):
            raise ValueError(f"{kind} has not as many entries as there are pairs")


def _compare(output: Path, before: RunData, now: RunData) -> None:
    names = [pair.partition(" ")[0] for pair in now.pairs]
    changes = []
    for entry in fields(RunData):
        old, new = getattr(before, entry.name), getattr(now, entry.name)
        if old == new or entry.name == "pictures":
            continue
        what = entry.name.replace("_", " ")
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
                    f"{kind} of {_some(other)}: the file size has changed since the start of the run in {output}; "
                    "the files are used as they are now"
                )
    if changes:
        raise UsageError(
            f"{output} holds a run on other data: {', '.join(changes)}; restore the data, or name another output"
        )


def _require_shared(output: Path, run: str) -> None:
    limit = time.monotonic() + WAIT
    while _id_seen(output) != run:
        if time.monotonic() > limit:
            raise InputError(
                f"{output}: process {os.environ.get('RANK', '0')} on {socket.gethostname()} does not see what the main "
                "process wrote there; all machines need one shared output folder"
            )
        time.sleep(0.5)


def _id_seen(output: Path) -> str | None:
    try:
        return str(json.loads((output / RECORD).read_bytes())["id"])
    except (OSError, ValueError):
        return None


def tensors_digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 of names, types, shapes and values."""
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
