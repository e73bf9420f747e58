"""A batch of try-on items -> their results, each with a noise of its own."""

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
