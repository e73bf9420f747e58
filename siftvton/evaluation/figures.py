"""The paper's figures of any data and checkpoints: reference attention, results side by side, attention maps."""

from pathlib import Path

import cv2
import numpy as np
from accelerate import PartialState

from siftvton import cli
from siftvton.config import CompareResults, VisualizeAttention, VisualizeReference
from siftvton.correspondence import Correspondences, read_matches
from siftvton.correspondence.regions import BODY_PARTS, densepose_labels
from siftvton.data import layout
from siftvton.data.dataset import TryOnDataset, collate
from siftvton.data.layout import Pair, SplitFolder, in_setting, matches_path, split_pairs
from siftvton.data.sides import read_densepose
from siftvton.devices import cpu_only, named_device
from siftvton.errors import InputError, UsageError
from siftvton.evaluation.attention_maps import POINTS, draw_attention, mean_maps, spread_points
from siftvton.evaluation.pictures import results_of, tried_on
from siftvton.files import read_image, write_image
from siftvton.inference import picture
from siftvton.model.loading import load
from siftvton.supervision import ReferenceAttention
from siftvton.visualize import contact_sheet, draw_matches

SPECK = np.ones((5, 5), np.uint8)  # JPEG makes the torso's colour on other parts' outlines, in spots narrower than this
ZOOM_BORDER = 0.05  # of the torso's box, on each side


def visualize_attention(config: VisualizeAttention) -> Path:
    """What points of a photo look at, a row a checkpoint (paper Fig. 4); writes and returns the picture.

    Raises:
        InputError: the data or a checkpoint cannot be read.
        UsageError: no checkpoint is given, or the points do not lie on the photo.
    """
    data = config.data
    if not config.checkpoints:
        raise UsageError("checkpoints: none given; name them by checkpoints.<name>=<folder or file>")
    pair = _pair(config)
    dataset = TryOnDataset(SplitFolder(data.root, data.split), [pair], data.height, data.width)
    batch = collate([dataset[0]])
    torso = _torso(dataset.folder, pair, dataset.size)
    points = _points(config, torso & (batch.keep_mask[0, 0].numpy() == 0))
    rows, captions = [], []
    for name, checkpoint in config.checkpoints.items():
        pipeline = load(checkpoint)
        pipeline.require_size(data.height, data.width)
        pipeline.to(named_device(config.device) if config.device else PartialState(cpu=cpu_only()).device)
        layers = pipeline.unet.hooked_layers(config.layers)
        maps = mean_maps(pipeline, batch, points, layers, config.timesteps, config.seed)
        if not np.isfinite(maps).all():
            raise InputError(f"checkpoints.{name}={checkpoint}: its attention is NaN or infinite; check its weights")
        photo, garment = picture(batch.image[0]), picture(batch.garment[0])
        rows.append(draw_attention(photo, garment, points, maps, true_places=False))
        captions.append([name, *(f"point {number}" for number in range(1, len(points) + 1))])
    return _written(config, "attention.png", contact_sheet(rows, captions))


def _pair(config: VisualizeAttention) -> Pair:
    """The person that is asked for, or the first; with the garment that is asked for, or the worn one."""
    data = config.data
    pairs = in_setting(split_pairs(data.root, data.split, data.validation_pairs, data.split_seed), "paired")
    person = next((pair.person for pair in pairs if config.person in (None, pair.person_id)), None)
    if person is None:
        raise UsageError(f"person={config.person}: not in the {data.split} list, e.g. {pairs[0].person_id}")
    return Pair(person, f"{config.garment}{Path(person).suffix}" if config.garment else person)


def _points(config: VisualizeAttention, worn: np.ndarray) -> Correspondences:
    """The points that are asked for, or some of ``worn`` that are far from each other, in the photo's pixels."""
    size = (config.data.height, config.data.width)
    if config.points is None:
        painted = np.argwhere(worn)[:, ::-1].astype(np.float64)
        if not len(painted):
            raise InputError("nothing of the torso is to be painted; name points=[x, y, …]")
        return spread_points(Correspondences(painted, painted, size), POINTS)
    xy = np.array(config.points, np.float64)
    if len(xy) % 2 or not ((xy >= 0).all() and (xy.reshape(-1, 2) < size[::-1]).all()):
        raise UsageError(
            f"points={config.points}: x, y in turn are required, inside {size[1]} × {size[0]} pixels (width × height)"
        )
    return Correspondences(xy.reshape(-1, 2), xy.reshape(-1, 2), size)


def compare_results(config: CompareResults) -> Path:
    """Person, garment and several methods' results, below them the torso enlarged (paper Fig. 3).

    Raises:
        InputError: a result or a file of the data is missing.
        UsageError: no results are given.
    """
    data = config.data
    if not config.predictions:
        raise UsageError("predictions: none given; name folders of results by predictions.<name>=<folder>")
    folder = SplitFolder(data.root, data.split)
    listed = split_pairs(data.root, data.split, data.validation_pairs, data.split_seed)
    pairs = tried_on(listed, config.setting, config.limit)
    sets = [results_of(name, at, listed, config.setting, config.limit) for name, at in config.predictions.items()]
    size = (data.height, data.width)
    rows, captions = [], []
    for place, pair in enumerate(pairs):
        person, garment = folder.require(layout.IMAGE, pair.person), folder.require(layout.GARMENT, pair.garment)
        pictures = [read_image(path, size) for path in (person, garment, *(each.paths[place] for each in sets))]
        box = _box(_torso(folder, pair, size))
        rows += [pictures, [pictures[0][box], pictures[1], *(result[box] for result in pictures[2:])]]
        names = [f"person {pair.person_id}", f"garment {pair.garment_id}", *(each.name for each in sets)]
        captions += [names, [""] * len(names)]
    return _written(config, "comparison.png", contact_sheet(rows, captions))


def _torso(folder: SplitFolder, pair: Pair, size: tuple[int, int]) -> np.ndarray:
    """(height, width) booleans, where most prints are; all of the photo where DensePose shows none."""
    labels = densepose_labels(read_densepose(folder.require(layout.DENSEPOSE, pair.person)))
    found = np.isin(labels, BODY_PARTS["torso"]).astype(np.uint8)
    shown = cv2.resize(cv2.morphologyEx(found, cv2.MORPH_OPEN, SPECK), size[::-1], interpolation=cv2.INTER_NEAREST)
    return shown > 0 if shown.any() else np.ones(size, bool)


def _box(torso: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns round the torso, of the photo's own proportions."""
    left, top, width, height = cv2.boundingRect(torso.astype(np.uint8))
    share = min(1, (1 + 2 * ZOOM_BORDER) * max(height / torso.shape[0], width / torso.shape[1]))
    sides = [round(share * side) for side in torso.shape]
    firsts = [
        min(max(middle - side // 2, 0), whole - side)
        for middle, side, whole in zip((top + height // 2, left + width // 2), sides, torso.shape, strict=True)
    ]
    return slice(firsts[0], firsts[0] + sides[0]), slice(firsts[1], firsts[1] + sides[1])


def visualize_reference(config: VisualizeReference) -> Path:
    """Matches of the first pairs that have some, and what a few cells are taught to look at (paper Fig. 2).

    Raises:
        InputError: matches or pictures cannot be read, or no pair has a match.
        UsageError: a cell is larger than the frame.
    """
    folder = SplitFolder(config.data.root, config.data.split)
    frame = (config.data.matches_frame[0], config.data.matches_frame[1])
    matches_folder = Path(config.matches) if config.matches else folder.folder / layout.MATCHES
    layout.require_frame(matches_folder, frame)
    if config.cell > min(frame):
        raise UsageError(f"cell={config.cell}: at most {min(frame)} is allowed")
    grid = (frame[0] // config.cell, frame[1] // config.cell)
    rows, captions = [], []
    for pair in in_setting(layout.folder_pairs(config.data.root, config.data.split), "paired"):
        matches = read_matches(matches_path(matches_folder, pair.person), frame)
        if not len(matches):
            continue
        person = read_image(folder.require(layout.IMAGE, pair.person), frame)
        garment = read_image(folder.require(layout.GARMENT, pair.garment), frame)
        points, maps = _fullest_cells(matches, grid)
        drawings = draw_attention(person, garment, points, maps, true_places=False)
        rows.append([draw_matches(person, garment, matches), *drawings])
        cells = [f"cell {number}" for number in range(1, len(drawings))]
        captions.append([f"{pair.person_id}: {len(matches)} matches", "query cells", *cells])
        if len(rows) == config.limit:
            break
    if not rows:
        raise InputError(f"{matches_folder}: no pair has a match; nothing to draw")
    return _written(config, "reference.png", contact_sheet(rows, captions))


def _fullest_cells(matches: Correspondences, grid: tuple[int, int]) -> tuple[Correspondences, np.ndarray]:
    """The middles of the person's cells with the most matches, and p of Eq. 1 of each, (cells, rows, columns)."""
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


def _written(config: VisualizeAttention | CompareResults | VisualizeReference, name: str, sheet: np.ndarray) -> Path:
    output = Path(config.output)
    write_image(output / name, sheet)
    cli.save(config, output / f"{Path(name).stem}.yaml")
    return output / name
