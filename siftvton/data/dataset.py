"""Try-on items: the pictures of a person and a garment that the network gets, and their correspondences."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from siftvton.correspondence import Correspondences, read_matches, with_dense_field
from siftvton.data.augment import AugmentationDraws, ItemPictures, augment, inside
from siftvton.data.layouts.base import AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE, GARMENT, IMAGE, WORN_MASK, Split
from siftvton.data.layouts.polarity import is_white
from siftvton.data.match_folder import matches_path, require_frame
from siftvton.data.pairs import Pair
from siftvton.data.sides import garment_faults, person_faults, read_densepose
from siftvton.draws import torch_generator
from siftvton.errors import InputError
from siftvton.files import is_file, read_grey, read_image
from siftvton.wording import counted

PERSON_KINDS = (IMAGE, AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE)
CLIP_SIZE = 224  # pixels, height and width of what CLIP's image encoder sees

Key = tuple[int, int]  # epoch, index of the pair


@dataclass(frozen=True, eq=False)
class TryOnItem:
    """One person and one garment.

    Attributes:
        image, agnostic, densepose: (3, H, W) float32 in [−1, 1], of the person.
        keep_mask: (1, H, W) float32 in [0, 1], 1 = unchanged, 0 = to paint; edges may be soft.
        garment: (3, H, W) float32 in [−1, 1].
        worn_mask: (1, H, W) float32 in [0, 1], 1 = the garment as worn; None if it was not requested.
        matches: between ``image`` and ``garment``, in their pixels, all inside; empty if no matches are read.
        pair: the file names.
        key: the epoch and the index, which determined the random draws.
        latents: (5, c, h, w) float32, the latents of the pictures ``siftvton.model.inputs.ENCODED`` and the noise, as
            :func:`siftvton.model.inputs.noised` would draw them; ``image``, ``agnostic`` and ``densepose`` are then
            empty. None: they are drawn when the batch is noised.
    """

    image: Tensor
    agnostic: Tensor
    densepose: Tensor
    keep_mask: Tensor
    garment: Tensor
    worn_mask: Tensor | None
    matches: Correspondences
    pair: Pair
    key: Key
    latents: Tensor | None = None


@dataclass(frozen=True, eq=False)
class TryOnBatch:
    """B items: the tensors of :class:`TryOnItem` with a leading batch dimension, and lists of the other attributes."""

    image: Tensor
    agnostic: Tensor
    densepose: Tensor
    keep_mask: Tensor
    garment: Tensor
    worn_mask: Tensor | None
    matches: list[Correspondences]
    pair: list[Pair]
    key: list[Key]
    latents: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures, pixels."""
        return self.keep_mask.shape[-2], self.keep_mask.shape[-1]

    @cached_property
    def garment_224(self) -> Tensor:
        """(B, 3, 224, 224) float32 in [−1, 1], the garments for CLIP, before CLIP's normalisation."""
        return functional.interpolate(self.garment, size=(CLIP_SIZE, CLIP_SIZE), mode="bilinear", antialias=True)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> TryOnBatch:
        return self._with_tensors(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> TryOnBatch:
        return self._with_tensors(Tensor.pin_memory)

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> TryOnBatch:
        changed: dict[str, Any] = {
            entry.name: change(value)
            for entry in fields(self)
            if isinstance(value := getattr(self, entry.name), Tensor)
        }
        return replace(self, **changed)


def collate(items: Sequence[TryOnItem]) -> TryOnBatch:
    """Combine items to a batch; a ``collate_fn`` for DataLoader."""
    columns: dict[str, Any] = {entry.name: [getattr(item, entry.name) for item in items] for entry in fields(TryOnItem)}
    for name, values in columns.items():
        if isinstance(values[0], Tensor):
            columns[name] = torch.stack(values)
        elif values[0] is None:
            columns[name] = None
    return TryOnBatch(**columns)


class TryOnDataset(Dataset[TryOnItem]):
    """The items of a list of pairs, for training and for sampling.

    The key of an item is ``(epoch, index)``. All random draws for it depend only on the seed, the epoch and the index.
    ``index`` alone means epoch 0.
    """

    def __init__(
        self,
        split: Split,
        pairs: Sequence[Pair],
        height: int,
        width: int,
        *,
        matches: str | Path | None = None,
        matches_frame: tuple[int, int] | None = None,
        match_reach: float = 0.0,
        worn_mask: bool = False,
        augmented: bool = False,
        seed: int = 0,
    ) -> None:
        """
        Args:
            split: finds the files.
            pairs: person and garment to try on (``split.pairs(setting)``).
            height: height of every picture, pixels.
            width: width of every picture, pixels.
            matches: folder of match files of the paired setting; None: items have no matches.
            matches_frame: (height, width) of the pictures on which these matches were found, pixels; None: ``height``
                and ``width``.
            match_reach: also interpolate matches up to this distance from those that were found, pixels of
                ``height`` and ``width`` (:mod:`siftvton.correspondence.dense_field`); 0: none.
            worn_mask: also read the worn mask, for the losses that require it.
            augmented: move and recolour items (:mod:`siftvton.data.augment`).
            seed: seed for the augmentation.

        Raises:
            InputError: the folder ``matches`` is missing.
            UsageError: the matches were found in another frame.
        """
        if matches is not None and not os.path.isdir(matches):
            raise InputError(
                f"{matches}: no such folder of match files; run scripts/preprocess_sift.py, or set data.matches to the "
                "folder of the published files"
            )
        assert matches is None or all(split.is_worn(pair) for pair in pairs), "matches are of worn garments"
        self.split = split
        self.pairs = list(pairs)
        self.size = (height, width)
        self.matches = matches
        self.matches_frame = self.size if matches_frame is None else matches_frame
        if matches is not None:
            require_frame(matches, self.matches_frame)
        self.match_reach = match_reach
        self.worn_mask = worn_mask
        self.augmented = augmented
        self.seed = seed

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: Key | int) -> TryOnItem:
        """Load one item.

        Raises:
            InputError: a file is missing or wrong.
        """
        epoch, index = (0, key) if isinstance(key, int) else key
        pair = self.pairs[index]
        pictures = self.read(pair)
        if self.augmented:
            generator = torch_generator(self.seed, epoch, index, "augmentation")
            pictures = augment(pictures, AugmentationDraws.draw(generator))
        return item_of(pictures, pair, (epoch, index))

    def batch(self, indices: Iterable[int]) -> TryOnBatch:
        """Load several items of epoch 0; raises as for one."""
        return collate([self[index] for index in indices])

    def require_files(self) -> None:
        """Check that every file exists, before hours of work depend on it.

        Raises:
            InputError: files are missing; the message names the first and counts the others.
        """
        missing = []
        for pair in self.pairs:
            wanted = [(kind, pair.person) for kind in self.person_kinds] + [(GARMENT, pair.garment)]
            missing += [
                self.split.candidates(kind, name)[0] for kind, name in wanted if self.split.find(kind, name) is None
            ]
            if self.matches is not None and not is_file(matches_path(self.matches, pair.person)):
                missing.append(matches_path(self.matches, pair.person))
        if missing:
            more = f" and {counted(len(missing) - 1, 'more file')}" if len(missing) > 1 else ""
            raise InputError(f"{missing[0]}{more}: no such file; scripts/check_data.py lists all missing files")

    @property
    def person_kinds(self) -> tuple[str, ...]:
        """The kinds of files that are read for a person."""
        return (*PERSON_KINDS, WORN_MASK) if self.worn_mask else PERSON_KINDS

    def read(self, pair: Pair) -> ItemPictures:
        """Read a pair's files, check that they fit each other, and resize them to the training size.

        Raises:
            InputError: a file is missing or wrong.
        """
        path = {kind: self.split.require(kind, pair.person) for kind in self.person_kinds}
        image, agnostic = read_image(path[IMAGE]), read_image(path[AGNOSTIC])
        densepose, mask = read_densepose(path[DENSEPOSE]), read_grey(path[AGNOSTIC_MASK])
        worn = read_grey(path[WORN_MASK]) if self.worn_mask else None
        path[GARMENT] = self.split.require(GARMENT, pair.garment)
        garment = read_image(path[GARMENT])
        person = person_faults(image, agnostic=agnostic, agnostic_mask=mask, densepose=densepose, worn_mask=worn)
        for fault in (*person, *garment_faults(garment)):
            if not fault.remark:
                raise fault.of(path[fault.kind])
        return ItemPictures(
            image=resized(image, self.size),
            agnostic=resized(agnostic, self.size),
            densepose=resized(densepose, self.size),
            garment=resized(garment, self.size),
            paint_mask=resized_mask(mask, self.size),
            worn_mask=None if worn is None else resized_mask(worn, self.size),
            matches=self.read_matches(pair.person),
        )

    def read_matches(self, person: str) -> Correspondences:
        """Read matches, round them in their own frame and then map them to the training size (as published).

        They are followed by interpolated ones if there is a ``match_reach``.
        """
        if self.matches is None:
            return Correspondences.empty(self.size)
        found = read_matches(matches_path(self.matches, person), self.matches_frame).rounded().resized(self.size)
        return with_dense_field(found, self.match_reach) if self.match_reach else found


def item_of(pictures: ItemPictures, pair: Pair, key: Key = (0, 0)) -> TryOnItem:
    """Make an item of pictures that have the network's size."""
    return TryOnItem(
        image=signed(pictures.image),
        agnostic=signed(pictures.agnostic),
        densepose=signed(pictures.densepose),
        keep_mask=keep_of(pictures.paint_mask),
        garment=signed(pictures.garment),
        worn_mask=None if pictures.worn_mask is None else share(pictures.worn_mask),
        matches=inside(pictures.matches),
        pair=pair,
        key=key,
    )


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture to (height, width), bilinear."""
    return cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def resized_mask(grey: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Threshold a mask to black and white at its own size, then resize it, so that its edges are soft."""
    return resized(is_white(grey).astype(np.uint8) * 255, size)


def signed(picture: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32 in [−1, 1]."""
    return torch.from_numpy(picture).permute(2, 0, 1).contiguous().float().div_(127.5).sub_(1)


def as_picture(values: Tensor) -> np.ndarray:
    """(3, H, W) in [−1, 1] -> (H, W, 3) uint8."""
    return ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def share(mask: np.ndarray) -> Tensor:
    """(H, W) uint8 -> (1, H, W) float32 in [0, 1]."""
    return torch.from_numpy(mask)[None].float().div_(255)


def keep_of(paint_mask: np.ndarray) -> Tensor:
    """(H, W) uint8, white = to paint -> (1, H, W) float32, 1 = unchanged."""
    return 1 - share(paint_mask)
