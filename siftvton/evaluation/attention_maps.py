"""Attention maps: where on the garment a point of the photo looks (the paper's Fig. 4)."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from siftvton.correspondence import Correspondences, Frame
from siftvton.data.dataset import TryOnBatch, TryOnDataset, as_picture, collate
from siftvton.data.pairs import Pair
from siftvton.devices import ready_device
from siftvton.drawing import POINTS, contact_sheet, draw_attention, spread_points
from siftvton.draws import torch_generator
from siftvton.errors import InputError, UsageError
from siftvton.evaluation.config import NoisedPhotos
from siftvton.model.inputs import Noised, noised_at
from siftvton.model.network import SupervisedNetwork
from siftvton.sampling.changes import load_changed
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.supervision.attention import attention_rows, observe
from siftvton.supervision.layers import Layer
from siftvton.supervision.reference import Grid, ReferenceAttention, cells, grid_of

SHEET_ROWS = 6


def load_observed(source: str, config: NoisedPhotos, size: Frame) -> TryOnPipeline:
    """Load a checkpoint in float32, change its weights as ``config`` asks, and put it on the device.

    Args:
        source: as for :func:`siftvton.sampling.loading.load`.
        size: (height, width) of the pictures.

    Raises:
        InputError: the weights are missing or damaged, or do not fit each other.
        UsageError: the size does not fit the network, or this machine has no such device.
    """
    pipeline = load_changed(source, torch.float32, config)
    pipeline.require_size(*size)
    return pipeline.to(ready_device(config.device))


@torch.no_grad()
def attention_maps(
    network: SupervisedNetwork, batch: TryOnBatch, inputs: Noised, points: Correspondences, layers: Sequence[str]
) -> np.ndarray:
    """Attention of one image's points over the garment, averaged over heads and layers.

    Each layer's map is resized to the picture, and sums to 1 over its pixels.

    Returns:
        (points, H, W).
    """
    assert len(batch) == 1
    frame = batch.size

    def look(layer: Layer, hidden_states: Tensor, key: Tensor) -> Tensor:
        query_grid, key_grid = grid_of(hidden_states.shape[1], frame), grid_of(key.shape[2], frame)
        rows = torch.from_numpy(cells(points.person, points.frame, query_grid)).to(key.device)
        weights = attention_rows(layer, hidden_states[0], key[0], rows).unflatten(1, key_grid)
        resized = functional.interpolate(weights[None], size=frame, mode="bilinear")[0]
        return resized / resized.sum(dim=(1, 2), keepdim=True)

    with observe(network.hooked, look, layers) as seen:
        network(inputs.sample, inputs.timestep, inputs.garment_latent, batch.garment_224, inputs.conditioned)
        return torch.stack([seen.losses[layer] for layer in layers]).mean(dim=0).cpu().numpy()


def mean_maps(
    pipeline: TryOnPipeline,
    batch: TryOnBatch,
    points: Correspondences,
    layers: Sequence[str],
    timesteps: Sequence[int],
    seed: int,
) -> np.ndarray:
    """:func:`attention_maps`, averaged also over the timesteps to which the photo is noised (in the paper: t < η)."""
    network = pipeline.network()
    on_device = batch.to(pipeline._execution_device)  # with offloading, the pipeline's own device is the CPU
    maps = [
        attention_maps(network, on_device, at_timestep(pipeline, batch, time, seed), points, layers)
        for time in timesteps
    ]
    pipeline.maybe_free_model_hooks()
    return np.mean(maps, axis=0)


def at_timestep(pipeline: TryOnPipeline, batch: TryOnBatch, timestep: int, seed: int) -> Noised:
    """The network's inputs for photos noised to one timestep, in the number format of the network's weights.

    The noise depends on seed, pair and timestep alone.
    """
    generators = [torch_generator(seed, pair.person_id, pair.garment_id, timestep) for pair in batch.pair]
    times, conditioned = torch.full((len(batch),), timestep), torch.ones(len(batch), dtype=torch.bool)
    on_device, dtype = batch.to(pipeline._execution_device), pipeline.unet.dtype
    inputs = noised_at(pipeline.vae, pipeline.scheduler, on_device, times, conditioned, generators)
    return replace(inputs, sample=inputs.sample.to(dtype), garment_latent=inputs.garment_latent.to(dtype))


def maps_sheet(
    pipeline: TryOnPipeline,
    dataset: TryOnDataset,
    points_of: Callable[[Pair], Correspondences],
    layers: Sequence[str],
    timesteps: Sequence[int],
    seed: int,
) -> np.ndarray:
    """A sheet that shows where a few points of the first persons look, averaged over layers and timesteps.

    Args:
        points_of: gives the points of a pair whose places on the garment are known; a pair without any is left out.
    """
    rows: list[list[np.ndarray]] = []
    captions: list[list[str]] = []
    for index, pair in enumerate(dataset.pairs):
        if len(rows) == SHEET_ROWS:
            break
        points = spread_points(points_of(pair))
        if not len(points):
            continue
        batch = collate([dataset[index]])
        maps = mean_maps(pipeline, batch, points, layers, timesteps, seed)
        drawings = draw_attention(as_picture(batch.image[0]), as_picture(batch.garment[0]), points, maps)
        rows.append(drawings)
        captions.append([f"person {pair.person_id}", *(f"point {n}" for n in range(1, len(drawings)))])
    return contact_sheet(rows, captions)


def query_points(given: Sequence[int] | None, worn: np.ndarray) -> Correspondences:
    """The query points of a photo.

    Args:
        given: x, y, x, y, … in pixels; None: points of ``worn`` that are far from each other.
        worn: (height, width) bool, the part of the torso that is painted.

    Raises:
        InputError: ``given`` is None and ``worn`` is empty.
        UsageError: a point is outside the photo, or the last x has no y.
    """
    size = (worn.shape[0], worn.shape[1])
    if given is None:
        painted = np.argwhere(worn)[:, ::-1].astype(np.float64)
        if not len(painted):
            raise InputError("points: the agnostic mask covers no part of the torso; use points=[x, y, …]")
        return spread_points(Correspondences(painted, painted, size), POINTS)
    xy = np.array(given, np.float64)
    if len(xy) % 2 or not ((xy >= 0).all() and (xy.reshape(-1, 2) < size[::-1]).all()):
        raise UsageError(
            f"points={list(given)} is not allowed; use [x, y, x, y, …] with each point inside the photo, which has "
            f"{size[1]}×{size[0]} pixels (width × height)"
        )
    return Correspondences(xy.reshape(-1, 2), xy.reshape(-1, 2), size)


def reference_maps(matches: Correspondences, grid: Grid) -> tuple[Correspondences, np.ndarray]:
    """The person's cells with the most matches.

    Returns:
        The cells' middles, and (cells, rows, columns): p of Eq. 1 for each of them.
    """
    reference = ReferenceAttention.from_correspondences([matches]).at(grid, grid)
    rows, count = np.unique(reference.row.numpy(), return_counts=True)
    chosen = rows[np.argsort(-count, kind="stable")[:POINTS]]
    maps = np.zeros((len(chosen), grid[0] * grid[1]), np.float32)
    for place, row in enumerate(chosen):
        entries = reference.row.numpy() == row
        maps[place, reference.key.numpy()[entries]] = reference.weight.numpy()[entries]
    cell_rows, cell_columns = np.divmod(reference.row_cells[0].numpy()[chosen], grid[1])
    step = np.array([matches.frame[1] / grid[1], matches.frame[0] / grid[0]])
    middles = (np.stack([cell_columns, cell_rows], axis=1) + 0.5) * step - 0.5
    return Correspondences(middles, middles, matches.frame), maps.reshape(-1, *grid)
