"""Training items whose pictures are decoded and encoded only once, before the first update.

Decoding the files and running the frozen autoencoder takes as long as a training step of the toy network, although
without augmentation it gives the same result in every epoch. Only the draws differ, so the posteriors are kept. The
processes that load the items also make the draws.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from siftvton.data.augment import ItemPictures, inside
from siftvton.data.dataset import Key, TryOnDataset, TryOnItem, collate, item_of, keep_of, share, signed
from siftvton.data.layouts.base import GARMENT, WORN_MASK
from siftvton.data.pairs import Pair
from siftvton.errors import InputError, UsageError, first_line
from siftvton.files import is_file, read_json, write_json, written_whole
from siftvton.model.inputs import (
    Autoencoder,
    latents_and_noise,
    posteriors,
    timestep_and_conditioned,
    training_generator,
)
from siftvton.pool import loader_workers
from siftvton.training.identity import tensors_digest

RECORD = "encoded.json"  # in the folder: what its items depend on
NOT_READ = torch.empty(3, 0, 0)  # in place of a picture that is not needed, since its latent is known
WRITERS = 4  # threads that write files


@dataclass(frozen=True)
class LatentDraws:
    """Draws the latents and the noise of an item, with the same values as for pictures encoded in every epoch.

    Attributes:
        seed, dropout, noise_offset: as in :func:`siftvton.model.inputs.noised`.
        steps: number of timesteps of the noise schedule.
        scaling_factor: of the autoencoder.
    """

    seed: int
    dropout: float
    steps: int
    scaling_factor: float
    noise_offset: float = 0.0

    def __call__(self, key: Key, encoded: Tensor) -> Tensor:
        generator = training_generator(self.seed, key)
        timestep_and_conditioned(generator, self.steps, self.dropout)  # drawn before the latents
        return latents_and_noise(encoded, self.scaling_factor, generator, self.noise_offset)


class EncodedDataset(Dataset[TryOnItem]):
    """The items of a data set with drawn latents, whose posteriors are read from one file for each pair.

    The posteriors are stored in float16.
    """

    def __init__(self, dataset: TryOnDataset, folder: Path, latents: LatentDraws) -> None:
        assert not dataset.augmented, "an augmented item is new in every epoch"
        self.dataset = dataset
        self.source = _with_worn_masks(dataset)
        self.pairs = dataset.pairs
        self.folder = folder
        self.latents = latents

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> TryOnItem:
        """
        Raises:
            InputError: the pair's file is missing or damaged, or its match file cannot be read.
        """
        pair = self.pairs[key[1]]
        with _opened(self.path(pair)) as stored:
            garment, paint_mask = (stored.get_tensor(name).numpy() for name in ("garment", "paint_mask"))
            worn = stored.get_tensor("worn_mask").numpy() if self.dataset.worn_mask else None
            encoded = stored.get_tensor("posteriors").float()
        return TryOnItem(
            image=NOT_READ,
            agnostic=NOT_READ,
            densepose=NOT_READ,
            garment=signed(garment),
            keep_mask=keep_of(paint_mask),
            worn_mask=None if worn is None else share(worn),
            matches=inside(self.dataset.read_matches(pair.person)),
            pair=pair,
            key=key,
            latents=self.latents(key, encoded),
        )

    def path(self, pair: Pair) -> Path:
        """The file of a pair."""
        return self.folder / f"{pair.result_id}.safetensors"

    def claim(self, vae: Autoencoder, mixed_precision: str) -> None:
        """Record what the folder's items depend on. Only the main process calls this.

        A record of an earlier version lacks the number format; such a folder is used as it is.

        Args:
            mixed_precision: the number format that autocast encodes with: ``no``, ``fp16`` or ``bf16``.

        Raises:
            UsageError: the folder holds items of another size, autoencoder, number format or version.
            InputError: the record cannot be read or written.
        """
        record = {
            "size": list(self.dataset.size),
            "autoencoder": tensors_digest(vae.state_dict().items()),
            "train.mixed_precision": mixed_precision,
        }
        path = self.folder / RECORD
        if not is_file(path):
            write_json(path, record)
        elif differing := _differing(read_json(path), record):
            raise UsageError(
                f"data.cache_latents={self.folder}: holds items of another {' and '.join(differing)}; use another "
                "folder, or delete this one"
            )

    def encode(self, vae: Autoencoder, accelerator: Accelerator, batch_size: int, workers: int) -> None:
        """Write this process's share of the files that are missing or older than their pictures.

        Args:
            workers: number of processes that read the pictures.

        Raises:
            InputError: a picture cannot be read, or a file cannot be written.
        """
        own = range(accelerator.process_index, len(self), accelerator.num_processes)
        waiting = [index for index in own if self._stored_sizes(self.pairs[index]) != self._sizes(self.pairs[index])]
        batches = DataLoader(
            Subset(_Read(self.source), waiting), batch_size=batch_size, collate_fn=list, **loader_workers(workers)
        )
        silent = not waiting or not accelerator.is_local_main_process
        with ThreadPoolExecutor(WRITERS) as pool, tqdm(desc="encoding", unit="pair", disable=silent) as bar:
            bar.total = len(waiting)
            for batch in batches:
                pairs, pictures = zip(*batch, strict=True)
                list(pool.map(self._write, pairs, pictures, self._encode(pairs, pictures, vae, accelerator)))
                bar.update(len(batch))

    @torch.no_grad()
    def _encode(
        self, pairs: Sequence[Pair], pictures: Sequence[ItemPictures], vae: Autoencoder, accelerator: Accelerator
    ) -> Tensor:
        """Encode pairs; returns (B, 4, 2, c, h, w) float16 as ``posteriors``."""
        batch = collate([item_of(each, pair) for each, pair in zip(pictures, pairs, strict=True)])
        with accelerator.autocast():
            return posteriors(vae, batch.to(accelerator.device)).half().cpu()

    def _write(self, pair: Pair, pictures: ItemPictures, encoded: Tensor) -> None:
        stored = {"garment": pictures.garment, "paint_mask": pictures.paint_mask, "worn_mask": pictures.worn_mask}
        tensors = {name: torch.from_numpy(picture) for name, picture in stored.items() if picture is not None}
        tensors["posteriors"] = encoded.contiguous()
        with written_whole(self.path(pair)) as path:
            save_file(tensors, path, metadata={"sizes": self._sizes(pair)})

    def _sizes(self, pair: Pair) -> str:
        """The sizes of the pair's picture files, in bytes; a changed picture usually has another size."""
        split = self.source.split
        paths = [split.require(kind, pair.person) for kind in self.source.person_kinds]
        paths.append(split.require(GARMENT, pair.garment))
        return " ".join(str(path.stat().st_size) for path in paths)

    def _stored_sizes(self, pair: Pair) -> str | None:
        """The sizes in the pair's file; None if there is no whole file."""
        if not is_file(self.path(pair)):
            return None
        try:
            with _opened(self.path(pair)) as stored:
                return (stored.metadata() or {}).get("sizes")
        except InputError:
            return None  # it is written again


def _differing(stored: Any, record: dict[str, Any]) -> list[str]:
    """The entries in which a stored record differs from the present one."""
    older = record.keys() - {"train.mixed_precision"}
    if not isinstance(stored, dict) or stored.keys() not in (older, record.keys()):
        return ["version of siftvton"]
    return [name for name, value in stored.items() if value != record[name]]


def _with_worn_masks(dataset: TryOnDataset) -> TryOnDataset:
    """The data set with its worn masks if it has any, so that runs with and without ATV can share a folder."""
    if not all(dataset.split.find(WORN_MASK, pair.person) for pair in dataset.pairs):
        return dataset
    masked = copy(dataset)
    masked.worn_mask = True
    return masked


class _Read(Dataset[tuple[Pair, ItemPictures]]):
    """The pairs of a data set with their pictures at the training size."""

    def __init__(self, dataset: TryOnDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[Pair, ItemPictures]:
        pair = self.dataset.pairs[index]
        return pair, self.dataset.read(pair)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file; yields an object that reads its tensors by name."""
    try:
        with safe_open(path, framework="pt") as stored:
            yield stored
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); delete it, and start again") from error
