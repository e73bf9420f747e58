"""How results in the toy world change with the kind of the agnostic mask: measures, a table and a sheet."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from siftvton.data.dataset import TryOnDataset, as_picture
from siftvton.data.layouts.base import IMAGE
from siftvton.drawing import contact_sheet, with_mask
from siftvton.files import read_image
from siftvton.tables import markdown_table
from siftvton.toy.masks import DRAWN, KINDS, REFERENCE, mask_of
from siftvton.toy.measures import (
    MEANS,
    SHARES,
    Case,
    ToyScore,
    compared,
    ground_truth_of,
    mean_entry,
    read_result,
    summary,
)

Report = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class MaskTrial:
    """The results of one pair with all kinds of masks.

    Attributes:
        cases: kind -> result.
        seed: seed for the moved joints.
    """

    cases: Mapping[str, Case]
    seed: int


@dataclass(frozen=True)
class MaskScore:
    """The scores of one result.

    Attributes:
        kind: the kind of mask.
        toy: its scores as for every result; ``changed`` refers to the reference mask.
        overlap, overlap_drawn: intersection over union of the mask with the reference, and with the drawn mask.
        picture_error: mean squared difference from the truth in the whole picture, of colours in 0…1.
        spoilt: mean difference from the photo outside the reference mask, in grey levels; None if all is painted.
    """

    kind: str
    toy: ToyScore
    overlap: float
    overlap_drawn: float
    picture_error: float
    spoilt: float | None


OWN_MEANS = {
    "overlap": "mean overlap (IoU) of the masks with the reference",
    "overlap_drawn": "mean overlap (IoU) of the masks with the drawn mask",
    "picture_error": "mean squared error of the whole picture, colours in 0…1",
    "spoilt": "mean change of the photo outside the reference mask, grey levels",
}
# Pixels outside the reference mask may change with other masks, so this share says nothing about them.
ROWS = {name: title for name, title in (SHARES | MEANS | OWN_MEANS).items() if name != "unchanged"}
STYLES = {"overlap": ".3f", "overlap_drawn": ".3f", "spoilt": ".2f", "colour_distance": ".2f"}  # others: .4f
DIFFERENCES = (*MEANS, "picture_error", "spoilt")


def score_masks(trial: MaskTrial) -> list[MaskScore]:
    """Compare the results of one pair with the truth; raises as :func:`siftvton.toy.measures.read_result`."""
    results = {kind: read_result(case) for kind, case in trial.cases.items()}
    masks = {kind: _mask(kind, case, trial.seed) for kind, case in trial.cases.items()}
    known = ground_truth_of(trial.cases[REFERENCE])
    scores = []
    for kind, result in results.items():
        error = (result.astype(float) - known.truth) / 255
        change = np.abs(result.astype(float) - known.photo)[known.kept]
        scores.append(
            MaskScore(
                kind=kind,
                toy=compared(result, known),
                overlap=_overlap(masks[kind], masks[REFERENCE]),
                overlap_drawn=_overlap(masks[kind], masks[DRAWN]),
                picture_error=float(np.square(error).mean()),
                spoilt=float(change.mean()) if change.size else None,
            )
        )
    return scores


def _mask(kind: str, case: Case, seed: int) -> np.ndarray:
    return mask_of(kind, case.split, case.pair.person, seed)


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def mask_report(scores: Sequence[MaskScore]) -> Report:
    """Summarise the scores: kind -> measure -> value, interval and number of cases.

    The entry ``differences`` of a kind contains the mean differences from the reference, over the same pairs.
    """
    of_kind = {kind: {score.toy.result: score for score in scores if score.kind == kind} for kind in KINDS}
    report: Report = {}
    for kind, found in of_kind.items():
        report[kind] = summary([score.toy for score in found.values()])
        report[kind].pop("unchanged", None)
        for name in OWN_MEANS:
            if numbers := [value for score in found.values() if (value := _value(score, name)) is not None]:
                report[kind][name] = mean_entry(numbers)
        report[kind]["differences"] = {}
        for name in DIFFERENCES:
            both = [(_value(score, name), _value(of_kind[REFERENCE][pair], name)) for pair, score in found.items()]
            if numbers := [own - other for own, other in both if own is not None and other is not None]:
                report[kind]["differences"][name] = mean_entry(numbers)
    return report


def _value(score: MaskScore, name: str) -> float | None:
    return getattr(score if name in OWN_MEANS else score.toy, name)


def rows(scores: Sequence[MaskScore]) -> list[dict[str, Any]]:
    """The rows of a table with one line for each result."""
    return [
        {"kind": score.kind, **asdict(score.toy), **{name: _value(score, name) for name in OWN_MEANS}}
        for score in scores
    ]


def mask_table(report: Report) -> str:
    """Make the page: measures by kind, differences from the reference, and what the kinds are."""
    columns = ["measure", *(_title(kind) for kind in KINDS)]
    lines = [
        f"{report[REFERENCE]['results']} results of each kind of mask, with the same persons, garments and noise; "
        "95 % intervals in brackets.",
        "",
        *markdown_table(columns, _cells(ROWS, report, list(KINDS))),
        "",
        "Mean difference from the results with the reference mask, pair by pair:",
        "",
        *markdown_table(
            ["measure", *columns[2:]],
            _cells(
                {name: ROWS[name] for name in DIFFERENCES},
                {kind: entries["differences"] for kind, entries in report.items()},
                [kind for kind in KINDS if kind != REFERENCE],
                sign="+",
            ),
        ),
        "",
        *(f"- **{_title(name)}**: {kind.text}" for name, kind in KINDS.items()),
    ]
    return "\n".join(lines) + "\n"


def _cells(titles: Mapping[str, str], report: Report, kinds: Sequence[str], sign: str = "") -> list[list[str]]:
    """One row for each measure that was computed, with a cell for each kind; ``sign="+"`` shows the sign always."""
    return [
        [title, *(_cell(name, report[kind].get(name), sign) for kind in kinds)]
        for name, title in titles.items()
        if any(name in report[kind] for kind in kinds)
    ]


def _cell(name: str, entry: Mapping[str, Any] | None, sign: str) -> str:
    if entry is None:
        return "–"
    style = sign + (".1%" if name in SHARES else STYLES.get(name, ".4f"))
    value, low, high = (format(number, style) for number in (entry["value"], *entry["interval"]))
    return f"{value} ({low} to {high})"


def _title(kind: str) -> str:
    return kind.replace("_", " ")


def mask_sheet(trial: MaskTrial) -> np.ndarray:
    """A sheet for one pair: the person with each kind of mask, and below the garment, the results and the truth."""
    case = trial.cases[REFERENCE]
    photo = read_image(case.split.require(IMAGE, case.pair.person))
    masks = {kind: _mask(kind, each, trial.seed) for kind, each in trial.cases.items()}
    garment = as_picture(TryOnDataset(case.split, [case.pair], *case.size)[0].garment)
    shown = [photo, *(with_mask(photo, mask) for mask in masks.values())]
    results = [garment, *(read_image(each.result) for each in trial.cases.values()), ground_truth_of(case).truth]
    overlaps = [f"{_title(kind)}: IoU {_overlap(mask, masks[REFERENCE]):.3f}" for kind, mask in masks.items()]
    return contact_sheet(
        [shown, results],
        [
            [f"person {case.pair.person_id}", *overlaps],
            [f"garment {case.pair.garment_id}", *("result" for _ in masks), "truth"],
        ],
    )
