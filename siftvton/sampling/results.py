"""A folder of results: one picture for each pair, written completely or not at all, and a contact sheet."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from accelerate import PartialState
from tqdm import tqdm

from siftvton.data.dataset import TryOnBatch, TryOnDataset, TryOnItem, as_picture, collate
from siftvton.data.pairs import Pair
from siftvton.drawing import SHEET_ROWS, contact_sheet
from siftvton.errors import InputError
from siftvton.files import read_image, write_image
from siftvton.pool import one_ahead
from siftvton.sampling.batch import generate, pictures
from siftvton.sampling.config import SamplingConfig
from siftvton.sampling.pipeline import NOT_FINITE, NotFiniteError, TryOnPipeline


@dataclass(frozen=True)
class Results:
    """The location of the results.

    Attributes:
        folder: holds ``<person id>_<garment id>.<format>`` for each pair.
        format: jpg or png.
        size: (height, width) of a result, in pixels.
    """

    folder: Path
    format: str
    size: tuple[int, int]

    def path(self, pair: Pair) -> Path:
        return self.folder / f"{pair.result_id}.{self.format}"

    def is_done(self, pair: Pair) -> bool:
        """Whether the result exists and can be decoded, which takes 2 ms (JPEG) or 4 ms (PNG) at 512 × 384."""
        path = self.path(pair)
        try:
            return path.exists() and read_image(path).shape[:2] == self.size
        except InputError:
            return False

    def waiting(self, pairs: Sequence[Pair], state: PartialState) -> list[int]:
        """The positions in ``pairs`` whose results are missing and belong to this process.

        The processes share the whole list, not only its missing results, because others write at the same time.
        """
        own = range(state.process_index, len(pairs), state.num_processes)
        return [index for index in own if not self.is_done(pairs[index])]

    def write_sheet(self, dataset: TryOnDataset) -> None:
        """Write the first results beside their photo and garment; unreadable results are left out."""
        rows: list[list[np.ndarray]] = []
        captions: list[list[str]] = []
        for index, pair in enumerate(dataset.pairs):
            path = self.path(pair)
            if len(rows) < SHEET_ROWS and path.exists():
                with suppress(InputError):
                    item, result = dataset[index], read_image(path)
                    rows.append([as_picture(item.image), as_picture(item.garment), result])
                    captions.append([f"person {pair.person_id}", f"garment {pair.garment_id}", "result"])
        if rows:
            write_image(self.folder / "sheet" / "contact_sheet.png", contact_sheet(rows, captions))


def write_results(
    pipeline: TryOnPipeline,
    dataset: TryOnDataset,
    indices: Sequence[int],
    results: Results,
    sampling: SamplingConfig,
    batch_size: int,
    strict: bool = False,
) -> dict[int, str]:
    """Sample and write the results of some pairs, with a progress bar.

    Args:
        indices: positions of the pairs in the data set.
        batch_size: number of pictures in a batch.
        strict: stop at the first pair that fails.

    Returns:
        The reason for each failed pair, by its position: a file cannot be read, or the result is NaN or infinite.

    Raises:
        InputError: a pair failed and ``strict`` is set, or a result cannot be written.
    """
    failures: dict[int, str] = {}
    with tqdm(total=len(indices), unit="picture", disable=not PartialState().is_local_main_process) as progress:
        chunks = [indices[first : first + batch_size] for first in range(0, len(indices), batch_size)]
        for items, unreadable in one_ahead(partial(_items, dataset, strict=strict), chunks):
            failures |= unreadable
            if items:
                failed = _write_batch(pipeline, collate(list(items.values())), results, sampling, strict)
                failures |= {list(items)[image]: NOT_FINITE for image in failed}
            progress.update(len(items) + len(unreadable))
    return failures


def _items(dataset: TryOnDataset, indices: Sequence[int], strict: bool) -> tuple[dict[int, TryOnItem], dict[int, str]]:
    """Read some items; returns those that can be read, and for each other one the reason."""
    items, unreadable = {}, {}
    for index in indices:
        try:
            items[index] = dataset[index]
        except InputError as error:
            if strict:
                raise
            unreadable[index] = str(error)
    return items, unreadable


def _write_batch(
    pipeline: TryOnPipeline, batch: TryOnBatch, results: Results, sampling: SamplingConfig, strict: bool
) -> tuple[int, ...]:
    """Sample and write one batch; returns the positions in it with a NaN or infinite result."""
    failed: tuple[int, ...] = ()
    try:
        drawn = generate(
            pipeline,
            batch,
            sampling.seed,
            sampling.steps,
            sampling.guidance,
            sampling.start,
            sampling.paste_back,
        )
    except NotFiniteError as error:
        if strict:
            raise
        drawn, failed = pictures(error.results), error.images
    for image, (pair, picture) in enumerate(zip(batch.pair, drawn, strict=True)):
        if image not in failed:
            write_image(results.path(pair), picture)
    return failed
