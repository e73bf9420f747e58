"""Validation pictures: persons of the validation pairs in each other's garments."""

from pathlib import Path
from typing import Any

import numpy as np
from diffusers import AutoencoderKL, PNDMScheduler

from siftvton.config import Train
from siftvton.data.dataset import TryOnDataset, collate
from siftvton.data.layout import SplitFolder, in_setting, split_pairs
from siftvton.files import write_image
from siftvton.inference import generate, picture
from siftvton.model.network import TryOnNetwork
from siftvton.pipeline import TryOnPipeline
from siftvton.visualize import contact_sheet

GUIDANCE = 1.5  # the paper's §4.1


def pipeline_of(network: TryOnNetwork, vae: AutoencoderKL, scheduler: PNDMScheduler) -> TryOnPipeline:
    """The parts under training as a pipeline; they are shared, not copied."""
    parts: dict[str, Any] = dict(network.named_children())
    pipeline = TryOnPipeline(vae=vae, **parts, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def validation_set(config: Train) -> TryOnDataset | None:
    """The first validation pairs, unpaired; None where validation is off or there are no validation pairs."""
    data = config.data
    if not config.train.validate_every:
        return None
    pairs = split_pairs(data.root, "validation", data.validation_pairs, data.split_seed)
    pairs = in_setting(pairs[: config.train.validation_pictures], "unpaired")
    return TryOnDataset(SplitFolder(data.root, "validation"), pairs, data.height, data.width) if pairs else None


def write_validation_sheet(config: Train, pipeline: TryOnPipeline, dataset: TryOnDataset, path: Path) -> np.ndarray:
    """Sample every validation pair, a micro-batch at a time, and write one sheet.

    The draws are keyed by (seed, person, garment), so sheets of one run differ by the weights alone.
    """
    rows, captions = [], []
    size = config.train.batch_size
    for first in range(0, len(dataset), size):
        batch = collate([dataset[index] for index in range(first, min(first + size, len(dataset)))])
        results = generate(pipeline, batch, config.train.seed, config.train.validation_steps, GUIDANCE)
        for place, (pair, result) in enumerate(zip(batch.pair, results, strict=True)):
            rows.append([picture(batch.image[place]), picture(batch.garment[place]), result])
            captions.append([f"person {pair.person_id}", f"garment {pair.garment_id}", "result"])
    sheet = contact_sheet(rows, captions)
    write_image(path, sheet)
    return sheet
