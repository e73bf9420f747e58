"""Where the hooked layers look, against where they should: the measure of what the supervision teaches.

The network sees the photo noised to a few timesteps and the garment that is worn in it. For every query cell whose
true place on the garment is known, a layer's attention, averaged over its heads, gives an expected place; its
distance from the true one is the attention error. Pixels are those of a garment picture 512 high, whatever the size.

Letters: R query cells, N_k key cells.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor

from siftvton.correspondence import Correspondences, Frame
from siftvton.data.dataset import TryOnBatch, TryOnDataset, collate
from siftvton.data.pairs import Pair
from siftvton.errors import InputError
from siftvton.evaluation.attention_maps import at_timestep
from siftvton.evaluation.intervals import bootstrap
from siftvton.model.inputs import Noised
from siftvton.model.network import SupervisedNetwork
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.supervision.attention import attention_rows, observe
from siftvton.supervision.reference import Grid, cells, grid_of
from siftvton.tables import markdown_table

HEIGHT = 512  # of the garment picture whose pixels errors are given in
NEAR = 0.05  # of the garment picture's width: how close counts as right
Known = Callable[[Grid], Correspondences]  # query grid -> points whose place on the garment is known

MEASURES = {
    "attention_error_px": "distance of the expected place from the true one",
    "argmax_error_px": "distance of the most attended cell's middle",
    "attention_pck": f"share of queries whose most attended cell is within {NEAR:.0%} of the width",
    "mass": "attention within that distance",
    "entropy": "of the attention, in nats",
}


def position_errors(weights: Tensor, truth: Tensor, key_grid: Grid, frame: Frame) -> Tensor:
    """The measures of some query cells.

    Args:
        weights: (R, N_k) attention, rows sum to 1. truth: (R, 2) true places (x, y), pixels of the frame.

    Returns:
        (R, 5), in the order of ``MEASURES``.
    """
    step = torch.tensor([frame[1] / key_grid[1], frame[0] / key_grid[0]])  # pixels from cell to cell
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in key_grid), indexing="ij")
    middles = (torch.stack([columns, rows], dim=-1).reshape(-1, 2) + 0.5) * step - 0.5  #  (N_k, 2)
    scale = HEIGHT / frame[0]
    distance = torch.cdist(truth.float(), middles.float()) * scale  #                      (R, N_k)
    near = distance <= NEAR * frame[1] * scale
    with torch.autocast(weights.device.type, enabled=False):  # half precision is off by up to two pixels
        places = weights.float() @ middles.float()  #                                      (R, 2)
    expected = (places - truth.float()).norm(dim=-1) * scale  #                            (R,)
    most = weights.argmax(dim=-1, keepdim=True)  #                                         (R, 1)
    return torch.stack(
        [
            expected,
            distance.gather(1, most)[:, 0],
            near.gather(1, most)[:, 0].float(),
            (weights * near).sum(dim=-1),
            torch.special.entr(weights).sum(dim=-1),
        ],
        dim=-1,
    )


def always(matches: Correspondences) -> Known:
    """The same places, whatever the query grid."""
    return lambda _grid: matches


@torch.no_grad()
def layer_errors(
    network: SupervisedNetwork, batch: TryOnBatch, inputs: Noised, known: Sequence[Known], layers: Sequence[str]
) -> tuple[Tensor, list[Grid]]:
    """Run the network once and measure its layers.

    Returns:
        (layers, B, 5): the means over an image's queries, NaN where none is known, infinite where the attention is
        not finite; and the layers' query grids.
    """
    frame = (batch.image.shape[-2], batch.image.shape[-1])
    grids = []

    def look(attention: Attention, hidden_states: Tensor, key: Tensor) -> Tensor:
        query_grid, key_grid = grid_of(hidden_states.shape[1], frame), grid_of(key.shape[2], frame)
        grids.append(query_grid)
        images = []
        for image, places in enumerate(known):
            points = places(query_grid)
            rows = torch.from_numpy(cells(points.person, points.frame, query_grid))
            weights = attention_rows(attention, hidden_states[image], key[image], rows.to(key.device)).cpu()
            errors = position_errors(weights, torch.from_numpy(points.garment), key_grid, points.frame)
            errors = errors.nan_to_num(nan=math.inf)  # of a broken network; the mean of no query is NaN
            images.append(errors.mean(dim=0))
        return torch.stack(images)  #                                              (B, 5)

    with observe(network.hooked, look, layers) as seen:
        network(inputs.sample, inputs.timestep, inputs.garment_latent, batch.garment_224, inputs.conditioned)
        return torch.stack([seen.losses[layer] for layer in layers]), grids


def measure(
    pipeline: TryOnPipeline,
    dataset: TryOnDataset,
    read: Callable[[Pair], Known],
    layers: Sequence[str],
    timesteps: Sequence[int],
    seed: int,
    chunks: Iterable[Sequence[int]],
) -> tuple[Tensor, list[Grid]]:
    """The measures of some of a data set's images, averaged over timesteps.

    Args:
        chunks: which images, a batch at a time.

    Returns:
        (layers, images, 5), NaN for an image without known places; and the layers' query grids.
    """
    network = pipeline.network()
    errors: list[Tensor] = []
    grids: list[Grid] = []
    for indices in chunks:
        batch = collate([dataset[index] for index in indices])
        known = [read(pair) for pair in batch.pair]
        times = []
        for timestep in timesteps:
            inputs = at_timestep(pipeline, batch, timestep, seed)
            values, grids = layer_errors(network, batch.to(pipeline.device), inputs, known, layers)
            times.append(values)
        errors.append(torch.stack(times).mean(dim=0))
    return torch.cat(errors, dim=1), grids


def summary(errors: np.ndarray, layers: Sequence[str], grids: Sequence[Grid]) -> dict[str, Any]:
    """Means over images and layers, of all and of each layer, with 95 % intervals over images.

    Args:
        errors: (layers, images, 5); NaN for an image without known places.
    """
    known = errors[:, np.isfinite(errors).all(axis=(0, 2))]
    if not known.shape[1]:
        raise InputError("no pair has a known place (an exact map, or a match); nothing can be measured")
    report: dict[str, Any] = {"images": known.shape[1], "layers": {}}
    for place, measure in enumerate(MEASURES):
        values = known[..., place].mean(axis=0)  #                                    (images,)
        report[measure] = {"value": float(values.mean()), "interval": list(bootstrap(values.tolist()))}
    for layer, grid, values in zip(layers, grids, known.mean(axis=1), strict=True):
        report["layers"][layer] = {"grid": list(grid), **dict(zip(MEASURES, values.tolist(), strict=True))}
    return report


def markdown(report: Mapping[str, Any]) -> str:
    """One row for each layer, then their mean with its interval."""
    rows = []
    for layer in report["layers"].values():
        grid = f"{layer['grid'][0]} × {layer['grid'][1]}"
        rows.append([grid, *(f"{layer[measure]:.3f}" for measure in MEASURES)])
    means = [
        f"{report[measure]['value']:.3f} ({report[measure]['interval'][0]:.3f} to {report[measure]['interval'][1]:.3f})"
        for measure in MEASURES
    ]
    rows.append([f"mean (95 % interval over {report['images']} images)", *means])
    notes = [f"- {measure}: {text}." for measure, text in MEASURES.items()]
    return "\n".join([*markdown_table(["queries", *MEASURES], rows), "", *notes]) + "\n"
