"""Training items whose pictures are decoded and encoded only once, before the first update.

Decoding the files and running the frozen autoencoder takes as long as a training step of the toy network, although
without augmentation it gives the same result in every epoch. Only the draws differ, so the posteriors are kept.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.utils.data import Dataset
from tqdm import tqdm

from siftvton.data.augment import ItemPictures
from siftvton.data.dataset import Key, TryOnDataset, TryOnItem, collate, item_of
from siftvton.data.layouts.base import GARMENT
from siftvton.data.pairs import Pair
from siftvton.errors import InputError, UsageError, first_line
from siftvton.files import is_file, read_json, write_json, written_whole
from siftvton.model.inputs import posteriors
from siftvton.training.identity import tensors_digest

RECORD = "encoded.json"  # in the folder: what its items depend on
PICTURES = ("image", "agnostic", "densepose", "garment", "paint_mask")


class EncodedDataset(Dataset[TryOnItem]):
    """The items of a data set with the posteriors of their pictures, read from one file for each pair.

    The posteriors are stored in float16.
    """

    def __init__(self, dataset: TryOnDataset, folder: Path) -> None:
        assert not dataset.augmented, "an augmented item is new in every epoch"
        self.dataset = dataset
        self.pairs = dataset.pairs
        self.folder = folder

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> TryOnItem:
        """
        Raises:
            InputError: the pair's file is missing or damaged, or its match file cannot be read.
        """
        pair = self.pairs[key[1]]
        with _opened(self.path(pair)) as stored:
            shown = {name: stored.get_tensor(name).numpy() for name in PICTURES}
            worn = stored.get_tensor("worn_mask").numpy() if self.dataset.worn_mask else None
            encoded = stored.get_tensor("posteriors").float()
        pictures = ItemPictures(**shown, worn_mask=worn, matches=self.dataset.read_matches(pair.person))
        return replace(item_of(pictures, pair, key), posteriors=encoded)

    def path(self, pair: Pair) -> Path:
        """The file of a pair."""
        return self.folder / f"{pair.result_id}.safetensors"

    def claim(self, vae: AutoencoderKL) -> None:
        """Record what the folder's items depend on. Only the main process calls this.

        Raises:
            UsageError: the folder holds items of another size or of another autoencoder.
            InputError: the record cannot be read or written.
        """
        record = {
            "size": list(self.dataset.size),
            "worn_mask": self.dataset.worn_mask,
            "autoencoder": tensors_digest(vae.state_dict().items()),
        }
        path = self.folder / RECORD
        if is_file(path) and read_json(path) != record:
            raise UsageError(
                f"data.encoded={self.folder}: holds items of another size or of another autoencoder; use another "
                "folder, or delete this one"
            )
        write_json(path, record)

    def encode(self, vae: AutoencoderKL, accelerator: Accelerator, batch_size: int) -> None:
        """Write this process's share of the files that are missing or older than their pictures.

        Raises:
            InputError: a picture cannot be read, or a file cannot be written.
        """
        own = range(accelerator.process_index, len(self), accelerator.num_processes)
        waiting = [index for index in own if self._stored_sizes(self.pairs[index]) != self._sizes(self.pairs[index])]
        with tqdm(
            total=len(waiting), desc="encoding", unit="pair", disable=not accelerator.is_local_main_process
        ) as bar:
            for first in range(0, len(waiting), batch_size):
                indices = waiting[first : first + batch_size]
                self._encode(indices, vae, accelerator)
                bar.update(len(indices))

    @torch.no_grad()
    def _encode(self, indices: Sequence[int], vae: AutoencoderKL, accelerator: Accelerator) -> None:
        pictures = [self.dataset.read(self.pairs[index]) for index in indices]
        batch = collate([item_of(each, self.pairs[index]) for each, index in zip(pictures, indices, strict=True)])
        with accelerator.autocast():
            encoded = posteriors(vae, batch.to(accelerator.device)).half().cpu()  #  (B, 4, 2, c, h, w)
        for each, index, values in zip(pictures, indices, encoded, strict=True):
            tensors = {name: torch.from_numpy(getattr(each, name)) for name in PICTURES}
            if each.worn_mask is not None:
                tensors["worn_mask"] = torch.from_numpy(each.worn_mask)
            tensors["posteriors"] = values.contiguous()
            pair = self.pairs[index]
            with written_whole(self.path(pair)) as path:
                save_file(tensors, path, metadata={"sizes": self._sizes(pair)})

    def _sizes(self, pair: Pair) -> str:
        """The sizes of the pair's picture files, in bytes; a changed picture usually has another size."""
        split = self.dataset.split
        paths = [split.require(kind, pair.person) for kind in self.dataset.person_kinds]
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


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file; yields an object that reads its tensors by name."""
    try:
        with safe_open(path, framework="pt") as stored:
            yield stored
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); delete it, and start again") from error
