"""Try garments on a list of persons: pictures, whole and restartable, and a contact sheet."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from siftvton import cli
from siftvton.config import Infer
from siftvton.data.dataset import TryOnBatch, TryOnDataset, collate
from siftvton.data.layout import Pair, SplitFolder, in_setting, split_pairs
from siftvton.devices import errors_shared, on_main, process_state
from siftvton.draws import torch_generator
from siftvton.errors import InputError, UsageError
from siftvton.execution import place, use_scheduler
from siftvton.files import read_bytes, read_image, write_image, write_text
from siftvton.model.loading import load, weights_digest
from siftvton.pipeline import NOT_FINITE, NotFiniteError, TryOnPipeline
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
    """Results of a batch, (height, width, 3) uint8; each image's noise is keyed by (seed, person, garment).

    Raises:
        NotFiniteError: some results are NaN or infinite; it names their pairs and holds the others' pictures.
        UsageError: the sampler cannot take so many steps.
    """
    try:
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
    except NotFiniteError as error:
        names = [batch.pair[image].result_id for image in error.images]
        raise NotFiniteError(error.images, error.results, ", ".join(names)) from error
    return pictures(results)


def pictures(results: torch.Tensor) -> list[np.ndarray]:
    """(B, 3, height, width) uint8 -> B of (height, width, 3)."""
    return list(results.permute(0, 2, 3, 1).cpu().numpy())


def picture(values: torch.Tensor) -> np.ndarray:
    """(3, height, width) in [−1, 1] -> (height, width, 3) uint8."""
    return ((values.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def infer(config: Infer) -> None:
    """Write ``<person id>_<garment id>.<format>`` for each pair; pairs whose picture is there are skipped.

    Several processes share the list. What one of them cannot do ends all of them.

    Raises:
        UsageError: the output folder holds results of another configuration, or the size or the number of steps is
            not allowed.
        InputError: the checkpoint or the data cannot be read; or, after all others are done, some pairs failed.
    """
    state = process_state()
    output = Path(config.output)
    digest = on_main(lambda: _check_same_results(config, output))
    with errors_shared():
        pairs = split_pairs(config.data.root, config.data.split, config.data.validation_pairs, config.data.split_seed)
        pairs = in_setting(pairs, config.setting)[: config.limit]
        dataset = TryOnDataset(
            SplitFolder(config.data.root, config.data.split), pairs, config.data.height, config.data.width
        )
        pipeline = _pipeline(config, state.device)

    def record() -> None:
        cli.save(config, output / "infer.yaml")
        write_text(output / WEIGHTS, digest)

    on_main(record)
    with errors_shared():
        own_failures = _write_results(config, pipeline, dataset, waiting(config, pairs, state))
    failures: list[tuple[int, str]] = sorted(gather_object(list(own_failures.items())))
    on_main(lambda: _write_sheet(config, dataset))
    if failures and state.is_main_process:
        lines = [f"{pairs[index].result_id}: {reason}" for index, reason in failures]
        raise InputError(f"{len(failures)} of {len(pairs)} pairs failed:\n  " + "\n  ".join(lines))


def _pipeline(config: Infer, device: torch.device) -> TryOnPipeline:
    """The checkpoint, once it is clear that it can do what is asked for."""
    pipeline = load(config.checkpoint, getattr(torch, config.execution.dtype))
    use_scheduler(pipeline, config.scheduler)
    pipeline.require_size(config.data.height, config.data.width)
    pipeline.require_steps(config.steps)
    pipeline.set_progress_bar_config(disable=True)
    place(pipeline, config.execution, device)
    return pipeline


def waiting(config: Infer, pairs: Sequence[Pair], state: PartialState) -> list[int]:
    """The places in the list whose results this process has to make.

    The list is divided, not what is missing of it, since the other processes write meanwhile.
    """
    own = range(state.process_index, len(pairs), state.num_processes)
    return [index for index in own if not _is_done(config, pairs[index])]


def _is_done(config: Infer, pair: Pair) -> bool:
    """Whether the result is there and whole; it is decoded, in 2 ms (JPEG) or 4 ms (PNG) at 512 × 384."""
    path = _result_path(config, pair)
    try:
        return path.exists() and read_image(path).shape[:2] == (config.data.height, config.data.width)
    except InputError:
        return False


def _check_same_results(config: Infer, output: Path) -> str:
    """The weights' digest, once it is clear that what is in ``output`` was made by them and this configuration."""
    digest = weights_digest(config.checkpoint)
    saved, weights = output / "infer.yaml", output / WEIGHTS
    free = ("limit", "batch_size", "strict", "output", *(f"execution.{key}" for key in SAME_RESULT))
    changed = cli.differences(config, saved) if saved.is_file() else []
    changed = [line for line in changed if line.partition(":")[0] not in free]
    if weights.is_file() and read_bytes(weights) != digest.encode():
        changed.append(f"checkpoint={config.checkpoint}: other weights")
    if changed:
        raise UsageError(f"{output} holds results of another configuration ({'; '.join(changed)}); name another output")
    return digest


def _result_path(config: Infer, pair: Pair) -> Path:
    return Path(config.output) / f"{pair.result_id}.{config.format}"


def _write_results(
    config: Infer, pipeline: TryOnPipeline, dataset: TryOnDataset, indices: Sequence[int]
) -> dict[int, str]:
    """Sample and write.

    Returns:
        the pairs without a result, by their place in the list, and why: a file cannot be read, or the result is NaN
        or infinite.
    """
    failures: dict[int, str] = {}
    with tqdm(total=len(indices), unit="picture", disable=not PartialState().is_local_main_process) as progress:
        for first in range(0, len(indices), config.batch_size):
            chunk = indices[first : first + config.batch_size]
            items = {}
            for index in chunk:
                try:
                    items[index] = dataset[index]
                except InputError as error:
                    if config.strict:
                        raise
                    failures[index] = str(error)
            if items:
                failures |= _write_batch(config, pipeline, collate(list(items.values())), list(items))
            progress.update(len(chunk))
    return failures


def _write_batch(config: Infer, pipeline: TryOnPipeline, batch: TryOnBatch, indices: Sequence[int]) -> dict[int, str]:
    """Sample and write one batch, of these places in the list; returns failures as :func:`_write_results` does."""
    failed: tuple[int, ...] = ()
    try:
        results = generate(pipeline, batch, config.seed, config.steps, config.guidance, config.start, config.paste_back)
    except NotFiniteError as error:
        if config.strict:
            raise
        results, failed = pictures(error.results), error.images
    for image, (pair, result) in enumerate(zip(batch.pair, results, strict=True)):
        if image not in failed:
            write_image(_result_path(config, pair), result)
    return {indices[image]: NOT_FINITE for image in failed}


def _write_sheet(config: Infer, dataset: TryOnDataset) -> None:
    """The first results beside their photo and garment; those that cannot be read are left out."""
    rows: list[list[np.ndarray]] = []
    captions: list[list[str]] = []
    for index, pair in enumerate(dataset.pairs):
        path = _result_path(config, pair)
        if len(rows) < SHEET_ROWS and path.exists():
            with suppress(InputError):
                item, result = dataset[index], read_image(path)
                rows.append([picture(item.image), picture(item.garment), result])
                captions.append([f"person {pair.person_id}", f"garment {pair.garment_id}", "result"])
    if rows:
        write_image(Path(config.output) / "sheet" / "contact_sheet.png", contact_sheet(rows, captions))
