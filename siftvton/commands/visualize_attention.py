"""Draw where points of a photo look on the garment, one row for each checkpoint."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from siftvton.commands import Command
from siftvton.data.config import HeldOutData
from siftvton.errors import InputError, UsageError
from siftvton.evaluation.config import NoisedPhotos
from siftvton.options import LARGEST_SIDE, option

if TYPE_CHECKING:
    from siftvton.data.layouts.base import Split
    from siftvton.data.pairs import Pair


@dataclass
class VisualizeAttention(NoisedPhotos):
    """Draw where points of a photo look on the garment, for one checkpoint or several (paper Fig. 4)."""

    checkpoints: dict[str, str] = option(
        {},
        "weights to use, one row of the figure for each: checkpoints.<name>=<a saved pipeline's folder, a published "
        ".ckpt or .safetensors file, or a Hugging Face repository>; autoencoder and lora change each of them",
        path=True,
    )
    data: HeldOutData = field(default_factory=HeldOutData)
    person: str | None = option(None, "id of the person, from the split's pair list; null: the first person there")
    garment: str | None = option(None, "id of a garment in the split's folder; null: the garment that the person wears")
    points: list[int] | None = option(
        None,
        "query points on the photo as x, y, x, y, …, in pixels of a photo of data.height × data.width; null: three "
        "points on the torso",
        minimum=0,
        maximum=LARGEST_SIDE,
    )
    layers: str = option(
        "all", "hooked layers to average: the middle one of each resolution, or all", choices=("middle", "all")
    )
    output: str = option("outputs/figures", "folder for attention.png", path=True)


def visualize_attention(config: VisualizeAttention) -> str:
    """Write ``attention.png``: where points of a photo look, one row for each checkpoint (paper Fig. 4).

    Raises:
        InputError: the data or a checkpoint cannot be read.
        UsageError: no checkpoint is given, or a point is not on the photo.
    """
    import numpy as np

    from siftvton.data.dataset import TryOnDataset, as_picture, collate
    from siftvton.data.torso import torso_of
    from siftvton.drawing import contact_sheet, draw_attention
    from siftvton.evaluation.attention_maps import load_observed, mean_maps, query_points
    from siftvton.files import write_image
    from siftvton.settings import save_configuration

    if not config.checkpoints:
        raise UsageError("checkpoints: none is given; give checkpoints.<name>=<folder or file>")
    height, width = config.data.size
    split = config.data.open().split(config.data.split)
    pair = _pair(config, split)
    batch = collate([TryOnDataset(split, [pair], height, width)[0]])
    painted = torso_of(split, pair, config.data.size) & (batch.keep_mask[0, 0].numpy() == 0)
    points = query_points(config.points, painted)
    rows, captions = [], []
    for name, checkpoint in config.checkpoints.items():
        pipeline = load_observed(checkpoint, config, config.data.size)
        layers = pipeline.network().hooked_layers(config.layers)
        maps = mean_maps(pipeline, batch, points, layers, config.timesteps, config.seed)
        if not np.isfinite(maps).all():
            raise InputError(f"checkpoints.{name}={checkpoint}: the attention is NaN or infinite; check the weights")
        photo, garment = as_picture(batch.image[0]), as_picture(batch.garment[0])
        rows.append(draw_attention(photo, garment, points, maps, true_places=False))
        captions.append([name, *(f"point {number}" for number in range(1, len(points) + 1))])
    path = Path(config.output) / "attention.png"
    write_image(path, contact_sheet(rows, captions))
    save_configuration(config, path.with_suffix(".yaml"))
    return str(path)


def _pair(config: VisualizeAttention, split: "Split") -> "Pair":
    """Return the chosen person, or the first, with the chosen garment, or the worn one."""
    from siftvton.data.pairs import Pair

    pairs = split.pairs("paired")
    person = next((pair.person for pair in pairs if config.person in (None, pair.person_id)), None)
    if person is None:
        raise UsageError(
            f"person={config.person} is not in the {split.name} list; use an id from it, e.g. {pairs[0].person_id}"
        )
    return Pair(person, f"{config.garment}{Path(person).suffix}" if config.garment else person)


COMMAND = Command(VisualizeAttention, visualize_attention, "vitonhd.yaml")
