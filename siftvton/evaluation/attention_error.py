"""The attention error: how far the hooked layers look from where they should.

The network sees a photo, noised to a few timesteps, and the garment that is worn in it. For every query cell whose
true place on the garment is known, a layer's attention, averaged over its heads, gives an expected place. The
attention error is the distance between the expected and the true place, in pixels of a garment picture 512 high.

Letters: R query cells, N_k key cells.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from siftvton.correspondence import Correspondences, Frame
from siftvton.data.dataset import TryOnBatch, TryOnDataset
from siftvton.data.pairs import Pair
from siftvton.errors import InputError
from siftvton.evaluation.attention_maps import at_timestep
from siftvton.evaluation.intervals import bootstrap
from siftvton.model.inputs import Noised
from siftvton.model.network import SupervisedNetwork
from siftvton.pool import one_ahead
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.supervision.attention import Layers, attention_rows, observe
from siftvton.supervision.layers import Layer
from siftvton.supervision.reference import Grid, cells, grid_of
from siftvton.tables import markdown_table
from siftvton.wording import counted

HEIGHT = 512  # errors are given in pixels of a garment picture of this height
NEAR = 0.05  # distance that counts as right, as a share of the garment picture's width
Known = Callable[[Grid], Correspondences]  # query grid -> points whose place on the garment is known


@dataclass(frozen=True)
class Measure:
    """The title of a table's column, and what the column means."""

    title: str
    definition: str


MEASURES = {
    "attention_error_px": Measure(
        "attention error, px",
        f"distance between the expected place and the true place, in pixels of a garment picture {HEIGHT} high",
    ),
    "argmax_error_px": Measure(
        "error of the strongest cell, px",
        "distance between the true place and the middle of the cell with the most attention",
    ),
    "attention_pck": Measure(
        "attention PCK", f"share of queries whose strongest cell is within {NEAR:.0%} of the picture's width"
    ),
    "mass": Measure("attention nearby", "share of the attention that is within the same distance"),
    "entropy": Measure("entropy, nats", "how widely the attention is spread; 0 where one cell has all of it"),
}


@dataclass(frozen=True)
class LayerErrors:
    """What was measured of one layer.

    Attributes:
        errors: (B, 5) means over the queries of each image, in the order of ``MEASURES``. A mean is NaN where no place
            is known, and infinite where the attention is NaN or infinite.
        grid: of the queries.
    """

    errors: Tensor
    grid: Grid


def position_errors(weights: Tensor, truth: Tensor, key_grid: Grid, frame: Frame) -> Tensor:
    """Measure the attention of some query cells.

    Args:
        weights: (R, N_k) attention; each row sums to 1.
        truth: (R, 2) true places (x, y), in pixels of the frame.
        key_grid: (rows, columns) of the garment's cells.
        frame: (height, width) of the garment picture, pixels.

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
    """Return the same places for every query grid."""
    return lambda _grid: matches


@torch.no_grad()
def model_errors(
    model: nn.Module, call: Callable[[], object], known: Sequence[Known], frame: Frame, layers: Layers | None = None
) -> dict[str, LayerErrors]:
    """Run any model of :func:`siftvton.supervision.observe` once and measure its attention layers.

    The attention is over the garment's keys alone, whatever the layout says, because only they have a place.

    Args:
        model: holds the layers.
        call: runs the model on a batch.
        known: one function for each image of the batch; :func:`always` makes one of matches.
        frame: (height, width) of the pictures; the grids have their shape.
        layers: names of attention layers, or names with their layouts; None: those that are found.

    Returns:
        The errors of each layer, by its name.
    """
    names = {module: name for name, module in model.named_modules()}
    grids: dict[str, Grid] = {}

    def look(layer: Layer, hidden_states: Tensor, key: Tensor) -> Tensor:
        query_grid, key_grid = grid_of(hidden_states.shape[1], frame), grid_of(key.shape[2], frame)
        grids[names[layer.attention]] = query_grid
        images = []
        for image, places in enumerate(known):
            points = places(query_grid)
            rows = torch.from_numpy(cells(points.person, points.frame, query_grid))
            weights = attention_rows(layer, hidden_states[image], key[image], rows.to(key.device)).cpu()
            errors = position_errors(weights, torch.from_numpy(points.garment), key_grid, points.frame)
            errors = errors.nan_to_num(nan=math.inf)  # a broken network; NaN below means that no place is known
            images.append(errors.mean(dim=0))
        return torch.stack(images)  #                                              (B, 5)

    with observe(model, look, layers) as seen:
        call()
        return {name: LayerErrors(errors, grids[name]) for name, errors in seen.losses.items()}


def layer_errors(
    network: SupervisedNetwork, batch: TryOnBatch, inputs: Noised, known: Sequence[Known], layers: Sequence[str]
) -> tuple[Tensor, list[Grid]]:
    """Run the network once and measure its layers.

    Args:
        known: one function for each image of the batch.

    Returns:
        (layers, B, 5) means over the queries of each image, and the query grid of each layer.
    """

    def call() -> Tensor:
        return network(inputs.sample, inputs.timestep, inputs.garment_latent, batch.garment_224, inputs.conditioned)

    found = model_errors(network.hooked, call, known, batch.size, layers)
    return torch.stack([found[layer].errors for layer in layers]), [found[layer].grid for layer in layers]


def measure(
    pipeline: TryOnPipeline,
    dataset: TryOnDataset,
    read: Callable[[Pair], Known],
    layers: Sequence[str],
    timesteps: Sequence[int],
    seed: int,
    chunks: Iterable[Sequence[int]],
) -> tuple[Tensor, list[Grid]]:
    """Measure images of a data set, averaged over timesteps.

    Args:
        read: gives the known places of a pair.
        timesteps: noise levels of the photos, 0 to 999.
        seed: seed for the noise.
        chunks: the indices of the images, one sequence for each batch.

    Returns:
        (layers, images, 5), with NaN for an image without known places, and the query grid of each layer.
    """
    network = pipeline.network()
    errors: list[Tensor] = []
    grids: list[Grid] = []
    for batch in one_ahead(dataset.batch, chunks):
        known = [read(pair) for pair in batch.pair]
        times = []
        for timestep in timesteps:
            inputs = at_timestep(pipeline, batch, timestep, seed)
            values, grids = layer_errors(network, batch.to(pipeline._execution_device), inputs, known, layers)
            times.append(values)
        errors.append(torch.stack(times).mean(dim=0))
    return torch.cat(errors, dim=1), grids


def summary(errors: np.ndarray, layers: Sequence[str], grids: Sequence[Grid]) -> dict[str, Any]:
    """Average each measure over images: over all layers, with a 95 % interval, and for each layer.

    Args:
        errors: (layers, images, 5); NaN for an image without known places.

    Raises:
        InputError: no image has a known place.
    """
    known = errors[:, np.isfinite(errors).all(axis=(0, 2))]
    if not known.shape[1]:
        raise InputError(
            "matches: no pair has a known place (an exact map or a match); use more pairs, or another folder of matches"
        )
    report: dict[str, Any] = {"images": known.shape[1], "layers": {}}
    for place, measure in enumerate(MEASURES):
        values = known[..., place].mean(axis=0)  #                                    (images,)
        report[measure] = {"value": float(values.mean()), "interval": list(bootstrap(values.tolist()))}
    for layer, grid, values in zip(layers, grids, known.mean(axis=1), strict=True):
        report["layers"][layer] = {"grid": list(grid), **dict(zip(MEASURES, values.tolist(), strict=True))}
    return report


def markdown(report: Mapping[str, Any]) -> str:
    """Make the table: one row for each layer, then their mean with its interval."""
    rows = []
    for layer in report["layers"].values():
        grid = f"{layer['grid'][0]} × {layer['grid'][1]}"
        rows.append([grid, *(f"{layer[measure]:.3f}" for measure in MEASURES)])
    means = [
        f"{report[measure]['value']:.3f} ({report[measure]['interval'][0]:.3f} to {report[measure]['interval'][1]:.3f})"
        for measure in MEASURES
    ]
    rows.append([f"mean (95 % interval over {counted(report['images'], 'image')})", *means])
    titles = [measure.title for measure in MEASURES.values()]
    notes = [f"- {measure.title}: {measure.definition}." for measure in MEASURES.values()]
    return "\n".join([*markdown_table(["query grid of the layer", *titles], rows), "", *notes]) + "\n"
