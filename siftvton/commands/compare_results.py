"""Put the results of several methods side by side, with the torso enlarged."""

from dataclasses import dataclass
from pathlib import Path

from siftvton.commands import Command
from siftvton.errors import UsageError
from siftvton.evaluation.config import ComparedResults
from siftvton.options import MANY, option


@dataclass
class CompareResults(ComparedResults):
    """Put the results of several methods side by side, with the torso enlarged (paper Fig. 3)."""

    limit: int = option(6, "number of pairs to use, from the start of the pair list", minimum=1, maximum=MANY)
    output: str = option("outputs/figures", "folder for comparison.png", path=True)


def compare_results(config: CompareResults) -> str:
    """Write ``comparison.png``: person, garment and results; below each row, the torso enlarged (paper Fig. 3).

    Raises:
        InputError: a result or a file of the data is missing.
        UsageError: no results are given.
    """
    from siftvton.data.layouts.base import GARMENT, IMAGE
    from siftvton.data.torso import box_of, torso_of
    from siftvton.drawing import contact_sheet
    from siftvton.evaluation.pictures import results_of
    from siftvton.files import read_image, write_image
    from siftvton.settings import save_configuration

    if not config.predictions:
        raise UsageError("predictions: none is given; give predictions.<name>=<folder>")
    split, size = config.data.open().split(config.data.split), config.data.size
    sets = [results_of(name, at, split, config.setting, config.limit) for name, at in config.predictions.items()]
    rows, captions = [], []
    for place, pair in enumerate(split.pairs(config.setting)[: config.limit]):
        person, garment = split.require(IMAGE, pair.person), split.require(GARMENT, pair.garment)
        pictures = [read_image(path, size) for path in (person, garment, *(each.paths[place] for each in sets))]
        box = box_of(torso_of(split, pair, size))
        rows += [pictures, [pictures[0][box], pictures[1], *(result[box] for result in pictures[2:])]]
        names = [f"person {pair.person_id}", f"garment {pair.garment_id}", *(each.name for each in sets)]
        captions += [names, [""] * len(names)]
    path = Path(config.output) / "comparison.png"
    write_image(path, contact_sheet(rows, captions))
    save_configuration(config, path.with_suffix(".yaml"))
    return str(path)


COMMAND = Command(CompareResults, compare_results, "vitonhd.yaml")
