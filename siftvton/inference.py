"""Try garments on a list of persons: pictures, whole and restartable, and a contact sheet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from tqdm import tqdm

from siftvton import cli
from siftvton.config import Infer
from siftvton.data.dataset import TryOnBatch, TryOnDataset, collate
from siftvton.data.layout import Pair, SplitFolder, in_setting, split_pairs
from siftvton.devices import cpu_only
from siftvton.draws import torch_generator
from siftvton.errors import InputError, UsageError
from siftvton.execution import place, use_scheduler
from siftvton.files import read_image, write_image, write_text
from siftvton.model.loading import load, weights_digest
from siftvton.pipeline import TryOnPipeline
from siftvton.visualize import contact_sheet

SHEET_ROWS = 12
SAME_RESULT = ("device", "compile", "channels_last", "vae_slicing", "offload")  # to rounding
WEIGHTS = "weights.sha256"  # beside the results: what made them


def generate(
    pipeline: TryOnPipeline,
    batch: TryOnBatch,
    seed: int,
    steps: int,
    guidance: float,
    start: str = "agnostic",
    paste_back: bool = True,
) -> list[np.ndarray]:
    """Results of a batch, (height, width, 3) uint8; each image's noise is keyed by (seed, person, garment)."""
    results = pipeline(
        image=batch.image,
        agnostic=batch.agnostic,
        densepose=batch.densepose,
        garment=batch.garment,
        garment_224=batch.garment_224,
        keep_mask=batch.keep_mask,
        generators=[torch_generator(seed, pair.person_id, pair.garment_id) for pair in batch.pair],
        steps=steps,
        guidance=guidance,
        start=start,
        paste_back=paste_back,
    )
    return [result.permute(1, 2, 0).cpu().numpy() for result in results]


def picture(values: torch.Tensor) -> np.ndarray:
    """(3, height, width) in [−1, 1] -> (height, width, 3) uint8."""
    return ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def infer(config: Infer) -> None:
    """Write ``<person id>_<garment id>.<format>`` for each pair; pairs whose picture exists are skipped.

    Raises:
        UsageError: the output folder holds results of another configuration, or the size is not allowed.
        InputError: the checkpoint or the data cannot be read; or, after all others are done, some pairs failed.
    """
    state = PartialState(cpu=cpu_only())
    output = Path(config.output)
    digest = _check_same_results(config, output)
    pairs = split_pairs(config.data.root, config.data.split, config.data.validation_pairs, config.data.split_seed)
    pairs = in_setting(pairs, config.setting)[: config.limit]
    dataset = TryOnDataset(
        SplitFolder(config.data.root, config.data.split), pairs, config.data.height, config.data.width
    )
    pipeline = load(config.checkpoint, getattr(torch, config.execution.dtype))
    use_scheduler(pipeline, config.scheduler)
    pipeline.require_size(config.data.height, config.data.width)
    pipeline.set_progress_bar_config(disable=True)
    place(pipeline, config.execution, state.device)
    if state.is_main_process:
        cli.save(config, output / "infer.yaml")
        write_text(output / WEIGHTS, digest)
    own = range(state.process_index, len(pairs), state.num_processes)  # whatever the others have written meanwhile
    waiting = [index for index in own if not _result_path(config, pairs[index]).exists()]
    failures = _write_results(config, pipeline, dataset, waiting)
    state.wait_for_everyone()
    if state.is_main_process:
        _write_sheet(config, dataset)
    if failures:
        raise InputError(f"{len(failures)} of {len(pairs)} pairs failed:\n  " + "\n  ".join(failures))


def _check_same_results(config: Infer, output: Path) -> str:
    """The weights' digest, once it is clear that what lies in ``output`` was made by them and this configuration."""
    digest = weights_digest(config.checkpoint)
    saved, weights = output / "infer.yaml", output / WEIGHTS
    free = ("limit", "batch_size", "strict", "output", *(f"execution.{key}" for key in SAME_RESULT))
    changed = cli.differences(config, saved) if saved.is_file() else []
    changed = [line for line in changed if line.partition(":")[0] not in free]
    if weights.is_file() and weights.read_text(encoding="utf-8") != digest:
        changed.append(f"checkpoint={config.checkpoint}: other weights")
    if changed:
        raise UsageError(f"{output} holds results of another configuration ({'; '.join(changed)}); name another output")
    return digest


def _result_path(config: Infer, pair: Pair) -> Path:
    return Path(config.output) / f"{pair.result_id}.{config.format}"


def _write_results(config: Infer, pipeline: TryOnPipeline, dataset: TryOnDataset, indices: Sequence[int]) -> list[str]:
    """Sample and write; returns a line for each pair whose files could not be read."""
    failures: list[str] = []
    with tqdm(total=len(indices), unit="picture", disable=not PartialState().is_local_main_process) as progress:
        for first in range(0, len(indices), config.batch_size):
            chunk = indices[first : first + config.batch_size]
            items = []
            for index in chunk:
                try:
                    items.append(dataset[index])
                except InputError as error:
                    if config.strict:
                        raise
                    failures.append(f"{dataset.pairs[index].result_id}: {error}")
            if items:
                batch = collate(items)
                results = generate(
                    pipeline, batch, config.seed, config.steps, config.guidance, config.start, config.paste_back
                )
                for pair, result in zip(batch.pair, results, strict=True):
                    write_image(_result_path(config, pair), result)
            progress.update(len(chunk))
    return failures


def _write_sheet(config: Infer, dataset: TryOnDataset) -> None:
    rows: list[list[np.ndarray]] = []
    captions: list[list[str]] = []
    for index, pair in enumerate(dataset.pairs):
        path = _result_path(config, pair)
        if path.exists() and len(rows) < SHEET_ROWS:
            item = dataset[index]
            rows.append([picture(item.image), picture(item.garment), read_image(path)])
            captions.append([f"person {pair.person_id}", f"garment {pair.garment_id}", "result"])
    if rows:
        write_image(Path(config.output) / "sheet" / "contact_sheet.png", contact_sheet(rows, captions))
