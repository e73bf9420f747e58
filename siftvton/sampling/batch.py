"""Sampling of a batch of try-on items, each with its own noise."""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from siftvton.data.dataset import TryOnBatch
from siftvton.draws import torch_generator
from siftvton.sampling.pipeline import NotFiniteError, TryOnPipeline


def generate(
    pipeline: TryOnPipeline,
    batch: TryOnBatch,
    seed: int,
    steps: int,
    guidance: float,
    start: str = "agnostic",
    paste_back: bool = True,
    progress: Callable[[Iterable], Iterable] | None = None,
) -> list[np.ndarray]:
    """Sample a batch; the noise of each image is keyed by (seed, person, garment).

    Args:
        progress: wraps the iterable of timesteps, as tqdm does; None: the pipeline's own progress bar.

    Returns:
        The results, (height, width, 3) uint8 each.

    Raises:
        NotFiniteError: some results are NaN or infinite; the error names their pairs and holds the other pictures.
        UsageError: the sampler does not allow this number of steps.
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
            progress=progress,
        )
    except NotFiniteError as error:
        names = [batch.pair[image].result_id for image in error.images]
        raise NotFiniteError(error.images, error.results, ", ".join(names)) from error
    return pictures(results)


def pictures(results: torch.Tensor) -> list[np.ndarray]:
    """Convert (B, 3, height, width) uint8 to a list of B arrays (height, width, 3)."""
    return list(results.permute(0, 2, 3, 1).cpu().numpy())
