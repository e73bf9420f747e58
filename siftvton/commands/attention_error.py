"""Measure how far a checkpoint's attention is from the right place on the garment, and draw the attention."""

from dataclasses import dataclass, field
from pathlib import Path

from siftvton.commands import Command
from siftvton.data.config import HeldOutData, MatchesFrame
from siftvton.errors import InputError
from siftvton.evaluation.config import NoisedPhotos
from siftvton.options import MANY, option


@dataclass
class AttentionError(NoisedPhotos, MatchesFrame):
    """Measure how far a checkpoint's attention is from the right place on the garment."""

    checkpoint: str = option(
        "outputs/train/model",
        "weights to use: a saved pipeline's folder, a published .ckpt or .safetensors file, or a Hugging Face "
        "repository",
        path=True,
    )
    data: HeldOutData = field(default_factory=HeldOutData)
    matches: str | None = option(
        None,
        "folder of match files with the right places; null: <root>/<split's folder>/exact_map if it exists (toy "
        "world), else <root>/<split's folder>/sift_matching",
        path=True,
    )
    layers: str = option(
        "middle", "hooked layers to measure: the middle one of each resolution, or all", choices=("middle", "all")
    )
    limit: int | None = option(
        None, "number of pairs to use, from the start of the pair list; null: all", minimum=1, maximum=MANY
    )
    batch_size: int = option(4, "number of pictures to process at once", minimum=1, maximum=10**6)
    output: str = option("outputs/attention_error", "folder for the tables and the attention maps", path=True)


def attention_error(config: AttentionError) -> str:
    """Measure a checkpoint; write ``attention_error.json``, ``attention_error.md`` and ``attention_maps.png``.

    Returns:
        The Markdown table.

    Raises:
        InputError: the data or the checkpoint cannot be read, or the right place is not known for any pair.
        UsageError: the size does not fit the model.
    """
    import torch
    from tqdm import tqdm

    from siftvton.data.dataset import TryOnDataset
    from siftvton.evaluation.attention_error import markdown, measure, summary
    from siftvton.evaluation.attention_maps import load_observed, maps_sheet
    from siftvton.files import write_image, write_json, write_text
    from siftvton.settings import save_configuration
    from siftvton.toy.exact_maps import known_places
    from siftvton.wording import counted

    height, width = config.data.size
    split = config.data.open().split(config.data.split)
    dataset = TryOnDataset(split, split.pairs("paired")[: config.limit], height, width)
    places_of = known_places(split, config.matches, config.frame)
    pipeline = load_observed(config.checkpoint, config, config.data.size)
    layers = pipeline.network().hooked_layers(config.layers)
    everyone = range(len(dataset))
    batches = [everyone[first : first + config.batch_size] for first in range(0, len(dataset), config.batch_size)]
    progress = tqdm(batches, unit="batch")
    errors, grids = measure(pipeline, dataset, places_of, layers, config.timesteps, config.seed, progress)
    broken = torch.isinf(errors).any(dim=2).any(dim=0).tolist()
    if any(broken):
        first = dataset.pairs[broken.index(True)].person_id
        raise InputError(
            f"{config.checkpoint}: the attention is NaN or infinite for {sum(broken)} of "
            f"{counted(len(broken), 'person')}, e.g. {first}; check the weights"
        )
    report = summary(errors.numpy(), layers, grids)
    output = Path(config.output)
    write_json(output / "attention_error.json", report)
    sheet = maps_sheet(
        pipeline,
        dataset,
        lambda pair: places_of(pair)((height // 2, width // 2)),
        layers,
        config.timesteps,
        config.seed,
    )
    write_image(output / "attention_maps.png", sheet)
    table = markdown(report)
    write_text(output / "attention_error.md", table)
    save_configuration(config, output / "attention_error.yaml")
    return table


COMMAND = Command(AttentionError, attention_error, "vitonhd.yaml")
