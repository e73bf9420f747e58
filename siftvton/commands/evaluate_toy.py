"""Score toy results against the exact rendering: print, colour and the rest of the photo."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from siftvton.commands import Command
from siftvton.commands.infer import SAVED, Infer, infer, require_same_results
from siftvton.data.config import HeldOutData
from siftvton.errors import InputError, UsageError
from siftvton.options import LARGEST_SEED, MANY, WORKERS, option

if TYPE_CHECKING:
    from siftvton.toy.measures import Case

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


@dataclass
class EvaluateToy:
    """Score toy results against the exact rendering: print, colour and the rest of the photo."""

    data: HeldOutData = field(default_factory=HeldOutData)
    predictions: str = option(
        "outputs/infer",
        "folder of results, preferably PNG: the errors of JPEG compression count as errors of the method",
        path=True,
    )
    masks: str = option(
        "given",
        "given: score the results in predictions; all: also sample the same pairs with other kinds of agnostic masks, "
        "by the configuration that infer saved in predictions, and compare how good the results are",
        choices=("given", "all"),
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
    alexnet: str | None = option(
        None,
        "file alexnet-owt-7be5be79.pth of torchvision, for LPIPS inside the painted area (masks=given); null: no LPIPS",
        path=True,
    )
    workers: int = option(0, "number of processes; 0: one for each core", minimum=0, maximum=WORKERS)
    seed: int = option(0, "seed for the choice of the other garments", minimum=0, maximum=LARGEST_SEED)
    output: str = option("outputs/evaluate_toy", "folder for the tables", path=True)


def evaluate_toy(config: EvaluateToy) -> str:
    """Score a folder of results; write ``toy.json``, ``toy.md``, ``toy_per_image.csv`` and ``toy.png``.

    If the garments have several categories, there is a table for all of them, then one for each.

    With ``masks=all``, results with other kinds of masks are sampled into one folder for each kind, and the files are
    ``masks.json``, ``masks.md``, ``masks_per_image.csv`` and ``masks.png``.

    Returns:
        The Markdown table.

    Raises:
        InputError: the data are not from the toy world, a result is missing, or ``alexnet`` is not AlexNet; with
            ``masks=all`` also as ``infer``.
        UsageError: LPIPS is asked for with ``masks=all``, or for pictures that are too small. With ``masks=all``: the
            results were made from other data or by other weights; or as ``infer``.
    """
    from siftvton.settings import save_configuration

    table = _compare_masks(config) if config.masks == "all" else _score_results(config)
    save_configuration(config, Path(config.output) / "evaluate_toy.yaml")
    return table


def _score_results(config: EvaluateToy) -> str:
    from siftvton.drawing import SHEET_ROWS
    from siftvton.evaluation import weights
    from siftvton.evaluation.metrics import LPIPS_MINIMUM_SIZE
    from siftvton.files import write_image, write_json, write_text
    from siftvton.tables import csv_text
    from siftvton.toy.measures import by_category, cases_of, markdown, score, summary, truth_sheet

    alexnet = weights.locate(weights.ALEXNET, config.alexnet) if config.alexnet else None
    if alexnet and min(config.data.size) < LPIPS_MINIMUM_SIZE:
        raise UsageError(
            f"alexnet: LPIPS requires pictures of at least {LPIPS_MINIMUM_SIZE} pixels on each side, and they have "
            f"{config.data.height}×{config.data.width}; set data.height and data.width higher, or leave alexnet out"
        )
    split = config.data.open().split(config.data.split)
    pairs = split.pairs(config.setting)[: config.limit]
    cases = cases_of(split, pairs, Path(config.predictions), config.data.size, config.others, config.seed)
    scores = sorted(_all_of(partial(score, alexnet=alexnet), cases, config.workers), key=lambda entry: entry.result)
    report = summary(scores)
    table = markdown(report)
    groups = by_category(cases, scores)
    if len(groups) > 1:
        report["categories"] = {category: summary(groups[category]) for category in sorted(groups)}
        table += "".join(f"\n{name}\n\n{markdown(each)}" for name, each in report["categories"].items())
    output = Path(config.output)
    write_json(output / "toy.json", report)
    write_text(output / "toy_per_image.csv", csv_text([asdict(entry) for entry in scores]))
    write_image(output / "toy.png", truth_sheet(cases[:SHEET_ROWS]))
    write_text(output / "toy.md", table)
    return table


def _compare_masks(config: EvaluateToy) -> str:
    from siftvton.files import write_image, write_json, write_text
    from siftvton.tables import csv_text
    from siftvton.toy.mask_sensitivity import MaskTrial, mask_report, mask_sheet, mask_table, rows, score_masks
    from siftvton.toy.masks import KINDS, REFERENCE, MaskedDataset
    from siftvton.toy.measures import cases_of

    if config.alexnet:
        raise UsageError("alexnet: masks=all does not compute LPIPS; use masks=given, or leave alexnet out")
    split = config.data.open().split(config.data.split)
    pairs = split.pairs(config.setting)[: config.limit]

    def cases_in(folder: Path) -> "list[Case]":
        return cases_of(split, pairs, folder, config.data.size, config.others, config.seed)

    output = Path(config.output)
    cases = {REFERENCE: cases_in(Path(config.predictions))}
    sampling = _sampling_of(config)
    for kind in KINDS:
        if kind != REFERENCE:
            infer(replace(sampling, output=str(output / kind)), partial(MaskedDataset, kind=kind, seed=sampling.seed))
            cases[kind] = cases_in(output / kind)
    trials = [
        MaskTrial(dict(zip(cases, pair, strict=True)), sampling.seed) for pair in zip(*cases.values(), strict=True)
    ]
    scores = [score for of_pair in _all_of(score_masks, trials, config.workers) for score in of_pair]
    scores.sort(key=lambda score: (score.toy.result, list(KINDS).index(score.kind)))
    report = mask_report(scores)
    table = mask_table(report)
    write_json(output / "masks.json", report)
    write_text(output / "masks_per_image.csv", csv_text(rows(scores)))
    write_image(output / "masks.png", mask_sheet(trials[0]))
    write_text(output / "masks.md", table)
    return table


def _sampling_of(config: EvaluateToy) -> Infer:
    """Return the configuration of the results in ``predictions``, for the pairs that are scored.

    Raises:
        InputError: there is no such configuration.
        UsageError: the results were made from other data, or the checkpoint has other weights now.
    """
    from siftvton.files import is_file
    from siftvton.settings import load_configuration

    folder = Path(config.predictions)
    if not is_file(folder / SAVED):
        raise InputError(f"{folder / SAVED}: no such file, so masks=all is not possible; run scripts/infer.py first")
    saved = load_configuration(Infer, folder / SAVED)
    asked = replace(saved, data=config.data, setting=config.setting, limit=config.limit, strict=True)
    require_same_results(asked, folder, "predictions")
    return asked


def _all_of(function: Callable[[Job], Outcome], jobs: Sequence[Job], workers: int) -> list[Outcome]:
    """Return the outcomes of all jobs, in any order.

    Args:
        function: computes the outcome of one job.
        jobs: the jobs.
        workers: number of processes; 0: one for each core.
    """
    import os
    from contextlib import closing

    from tqdm import tqdm

    from siftvton.pool import in_processes

    with closing(in_processes(function, jobs, workers or os.cpu_count() or 1)) as done:
        return list(tqdm(done, total=len(jobs), unit="result"))


COMMAND = Command(EvaluateToy, evaluate_toy, "toy.yaml")
