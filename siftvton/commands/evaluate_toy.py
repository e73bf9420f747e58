"""Score toy results against the exact rendering: print, colour and the rest of the photo."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from siftvton.commands import Command
from siftvton.data.config import HeldOutData
from siftvton.options import LARGEST_SEED, MANY, WORKERS, option


@dataclass
class EvaluateToy:
    """Score toy results against the exact rendering: print, colour and the rest of the photo."""

    data: HeldOutData = field(default_factory=HeldOutData)
    predictions: str = option(
        "outputs/infer",
        "folder of results, preferably PNG: the errors of JPEG compression count as errors of the method",
        path=True,
    )
    setting: str = option(
        "unpaired",
        "paired: results with the worn garment; unpaired: results with the garment in the pair list",
        choices=("paired", "unpaired"),
    )
    limit: int | None = option(
        None, "number of pairs to use, from the start of the pair list; null: all", minimum=1, maximum=MANY
    )
    others: int = option(
        9,
        "number of other garments that each printed result is compared with; 0: measure errors alone",
        minimum=0,
        maximum=MANY,
    )
    workers: int = option(0, "number of processes; 0: one for each core", minimum=0, maximum=WORKERS)
    seed: int = option(0, "seed for the choice of the other garments", minimum=0, maximum=LARGEST_SEED)
    output: str = option("outputs/evaluate_toy", "folder for the tables", path=True)


def evaluate_toy(config: EvaluateToy) -> str:
    """Score a folder of results; write ``toy.json``, ``toy.md``, ``toy_per_image.csv`` and ``toy.png``.

    Returns:
        The Markdown table.

    Raises:
        InputError: the data are not from the toy world, or a result is missing.
    """
    import os
    from contextlib import closing

    from tqdm import tqdm

    from siftvton.drawing import SHEET_ROWS
    from siftvton.files import write_image, write_json, write_text
    from siftvton.pool import in_processes
    from siftvton.settings import save_configuration
    from siftvton.tables import csv_text
    from siftvton.toy.measures import cases_of, markdown, score, summary, truth_sheet

    split = config.data.open().split(config.data.split)
    pairs = split.pairs(config.setting)[: config.limit]
    cases = cases_of(split, pairs, Path(config.predictions), config.data.size, config.others, config.seed)
    scores = []
    with closing(in_processes(score, cases, config.workers or os.cpu_count() or 1)) as done:
        for entry in tqdm(done, total=len(cases), unit="result"):
            scores.append(entry)
    scores.sort(key=lambda entry: entry.result)
    report = summary(scores)
    table = markdown(report)
    output = Path(config.output)
    write_json(output / "toy.json", report)
    write_text(output / "toy_per_image.csv", csv_text([asdict(entry) for entry in scores]))
    write_image(output / "toy.png", truth_sheet(cases[:SHEET_ROWS]))
    write_text(output / "toy.md", table)
    save_configuration(config, output / "evaluate_toy.yaml")
    return table


COMMAND = Command(EvaluateToy, evaluate_toy, "toy.yaml")
