"""Where the hooked layers look, against where they should: the measure of what the supervision teaches.

The network sees the photo noised to a few timesteps and the garment that is worn in it. For every query cell whose
true place on the garment is known, a layer's attention, averaged over its heads, gives an expected place; its
distance from the true one is the attention error. Pixels are those of a garment picture 512 high, whatever the size.

Letters: R query cells, N_k key cells.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from accelerate import PartialState
from diffusers.models.attention_processor import Attention
from torch import Tensor
from tqdm import tqdm

from siftvton import cli
from siftvton.config import AttentionError
from siftvton.correspondence import Correspondences, read_matches
from siftvton.data.dataset import TryOnBatch, TryOnDataset, collate
from siftvton.data.layout import MATCHES, Pair, SplitFolder, in_setting, matches_path, require_frame, split_pairs
from siftvton.data.synthetic.write import EXACT_MAP
from siftvton.devices import cpu_only, named_device
from siftvton.errors import InputError, first_line
from siftvton.evaluation.attention_maps import at_timestep, draw_attention, mean_maps, network_of, spread_points
from siftvton.evaluation.intervals import bootstrap
from siftvton.files import open_file, write_image, write_json, write_text
from siftvton.inference import picture
from siftvton.model.loading import load
from siftvton.model.network import TryOnNetwork
from siftvton.pipeline import TryOnPipeline
from siftvton.supervision.attention import attention_rows, observe
from siftvton.supervision.reference import Grid, cells, grid_of
from siftvton.training.step import Noised
from siftvton.visualize import contact_sheet

HEIGHT = 512  # of the garment picture whose pixels errors are given in
SHEET_ROWS = 6
NEAR = 0.05  # of the garment picture's width: how close counts as right
Known = Callable[[Grid], Correspondences]  # query grid -> points whose place on the garment is known

MEASURES = {
    "attention_error_px": "distance of the expected place from the true one",
    "argmax_error_px": "distance of the most attended cell's middle",
    "attention_pck": f"share of queries whose most attended cell is within {NEAR:.0%} of the width",
    "mass": "attention within that distance",
    "entropy": "of the attention, in nats",
}


def position_errors(weights: Tensor, truth: Tensor, key_grid: Grid, frame: Grid) -> Tensor:
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


def exact_positions(person_to_garment: np.ndarray, grid: Grid) -> Correspondences:
    """The places that the middles of a grid's cells show, by an exact map (height, width, 2); NaN: none."""
    height, width = person_to_garment.shape[:2]
    rows, columns = (
        ((np.arange(cells) + 0.5) * size / cells).astype(int) for cells, size in zip(grid, (height, width), strict=True)
    )
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    places = person_to_garment[y, x].astype(np.float64)
    known = np.isfinite(places).all(axis=1)
    return Correspondences(np.stack([x, y], axis=1)[known].astype(np.float64), places[known], (height, width))


def known_positions(config: AttentionError, folder: SplitFolder) -> Callable[[Pair], Known]:
    """Reads what is known of a pair: its exact map where the data have one, else its matches."""
    exact = folder.folder / EXACT_MAP
    if config.matches is None and exact.is_dir():
        return lambda pair: partial(exact_positions, read_map(exact / f"{pair.person_id}.npz"))
    matches = Path(config.matches) if config.matches else folder.folder / MATCHES
    if not matches.is_dir():
        raise InputError(f"{matches}: no such folder of matches; run scripts/preprocess_sift.py data.split=… first")
    frame = (config.matches_frame[0], config.matches_frame[1])
    require_frame(matches, frame)
    return lambda pair: always(read_matches(matches_path(matches, pair.person), frame))


def always(matches: Correspondences) -> Known:
    """The same places, whatever the query grid."""
    return lambda _grid: matches


def read_map(path: Path) -> np.ndarray:
    """An exact map of the toy world, (height, width, 2)."""
    try:
        with open_file(path) as file, np.load(file, allow_pickle=False) as content:
            places = content["person_to_garment"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not an exact map of the toy world ({first_line(error)}); make it again") from error
    if places.ndim != 3 or places.shape[2] != 2 or not places.size or not np.issubdtype(places.dtype, np.floating):
        raise InputError(
            f"{path}: has shape {places.shape} and type {places.dtype}; (height, width, 2) of floats is required"
        )
    known = places[~np.isnan(places).any(axis=2)]
    if ((known < -1) | (known > places.shape[1::-1])).any():
        raise InputError(f"{path}: leads out of the garment's picture; make the map again")
    return places


@torch.no_grad()
def layer_errors(
    network: TryOnNetwork, batch: TryOnBatch, inputs: Noised, known: Sequence[Known], layers: Sequence[str]
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

    with observe(network.unet, look, layers) as seen:
        network(inputs.sample, inputs.timestep, inputs.garment_latent, batch.garment_224, inputs.keep)
        return torch.stack([seen.losses[layer] for layer in layers]), grids


def attention_error(config: AttentionError) -> str:
    """Measure a checkpoint; writes ``attention_error.json``, ``attention_error.md`` and ``attention_maps.png``.

    Returns:
        The Markdown table.

    Raises:
        InputError: data or checkpoint cannot be read, or nothing is known of any pair.
        UsageError: the size does not fit the model.
    """
    data = config.data
    folder = SplitFolder(data.root, data.split)
    pairs = in_setting(split_pairs(data.root, data.split, data.validation_pairs, data.split_seed), "paired")
    dataset = TryOnDataset(folder, pairs[: config.limit], data.height, data.width)
    read = known_positions(config, folder)
    pipeline = load(config.checkpoint)
    pipeline.require_size(data.height, data.width)
    pipeline.to(named_device(config.device) if config.device else PartialState(cpu=cpu_only()).device)
    layers = pipeline.unet.hooked_layers(config.layers)
    everyone = range(len(dataset))
    chunks = [everyone[first : first + config.batch_size] for first in range(0, len(dataset), config.batch_size)]
    errors, grids = measure(pipeline, dataset, read, layers, config.timesteps, config.seed, tqdm(chunks, unit="batch"))
    broken = torch.isinf(errors).any(dim=2).any(dim=0).tolist()
    if any(broken):
        first = dataset.pairs[broken.index(True)].person_id
        raise InputError(
            f"{config.checkpoint}: its attention is NaN or infinite for {sum(broken)} of {len(broken)} persons, e.g. "
            f"{first}; check its weights"
        )
    report = summary(errors.numpy(), layers, grids)
    output = Path(config.output)
    write_json(output / "attention_error.json", report)
    _write_maps(config, pipeline, dataset, read)
    table = markdown(report)
    write_text(output / "attention_error.md", table)
    cli.save(config, output / "attention_error.yaml")
    return table


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
    network = network_of(pipeline)
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


def _write_maps(
    config: AttentionError,
    pipeline: TryOnPipeline,
    dataset: TryOnDataset,
    read: Callable[[Pair], Known],
) -> None:
    """``attention_maps.png``: what a few points of the first persons look at, averaged over layers and timesteps."""
    layers = pipeline.unet.hooked_layers(config.layers)
    rows: list[list[np.ndarray]] = []
    captions: list[list[str]] = []
    for index, pair in enumerate(dataset.pairs):
        points = spread_points(read(pair)((dataset.size[0] // 2, dataset.size[1] // 2)))
        if len(rows) == SHEET_ROWS or not len(points):
            continue
        batch = collate([dataset[index]])
        maps = mean_maps(pipeline, batch, points, layers, config.timesteps, config.seed)
        drawings = draw_attention(picture(batch.image[0]), picture(batch.garment[0]), points, maps)
        rows.append(drawings)
        captions.append([f"person {pair.person_id}", *(f"point {n}" for n in range(1, len(drawings)))])
    write_image(Path(config.output) / "attention_maps.png", contact_sheet(rows, captions))


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
    """A row a layer, then their mean with its interval."""
    lines = [f"| queries | {' | '.join(MEASURES)} |", f"| --- |{' ---: |' * len(MEASURES)}"]
    for layer in report["layers"].values():
        numbers = " | ".join(f"{layer[measure]:.3f}" for measure in MEASURES)
        lines.append(f"| {layer['grid'][0]} × {layer['grid'][1]} | {numbers} |")
    cells = [
        f"{report[measure]['value']:.3f} ({report[measure]['interval'][0]:.3f} to {report[measure]['interval'][1]:.3f})"
        for measure in MEASURES
    ]
    lines += [f"| mean (95 % interval over {report['images']} images) | {' | '.join(cells)} |", ""]
    lines += [f"- {measure}: {text}." for measure, text in MEASURES.items()]
    return "\n".join(lines) + "\n"
