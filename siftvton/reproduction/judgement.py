"""Compare scores with published figures: one verdict for each measure, and one for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from siftvton.errors import InputError, UsageError
from siftvton.evaluation.report import METRICS
from siftvton.reproduction.config import Figures, Target
from siftvton.wording import counted

ROUNDING = 1e-9  # relative; a difference of exactly the tolerance is within it
WITHIN, WORSE, BETTER = "within tolerance", "outside, worse", "outside, better"
TRIAL, UNPUBLISHED, UNMEASURED, STAND_IN = "trial run", "no figure published", "not measured", "another network"


@dataclass(frozen=True)
class Row:
    """One measure.

    Attributes:
        measure: a key of ``METRICS``.
        setting: paired or unpaired.
        published, ours: the scores; None: there is none.
        interval: of our score, 95 %; None: there is none.
        tolerance: the largest allowed difference; None: not given.
        reason: why the tolerance has its size.
        verdict: one of the constants above.
        remark: why there is no verdict; empty if there is one.
    """

    measure: str
    setting: str
    published: float | None
    ours: float | None
    interval: list[float] | None
    tolerance: float | None
    reason: str
    verdict: str
    remark: str


def require_reasons(target: Target, key: str) -> None:
    """Check that every published figure has a tolerance with a reason.

    Raises:
        UsageError: one lacks it, or a reason belongs to no measure.
    """
    measures = [entry.name for entry in fields(Figures)]
    for measure in target.reason:
        if measure not in measures:
            raise UsageError(f"{key}.reason.{measure} is not allowed; use a measure: {', '.join(measures)}")
    for measure in measures:
        if getattr(target.published, measure) is None:
            continue
        if getattr(target.tolerance, measure) is None:
            raise UsageError(f"{key}.published.{measure} has no tolerance; give {key}.tolerance.{measure}")
        if not target.reason.get(measure, "").strip():
            raise UsageError(f"{key}.tolerance.{measure} has no reason; give {key}.reason.{measure}")


def judge(target: Target, reports: Mapping[str, Any], name: str, pairs: int) -> list[Row]:
    """Compare the scores of one method with the published figures.

    Args:
        target: the figures and tolerances.
        reports: the contents of ``metrics.json`` by their path, one for each setting.
        name: the method's name in the reports.
        pairs: number of pairs that the figures are for; from fewer, no verdict follows.

    Raises:
        InputError: a report is not one of evaluate.py's.
    """
    rows = []
    for path, report in reports.items():
        try:
            results = report["results"][name]
            rows += [_row(target, report, results, measure, pairs) for measure in report["metrics"]]
        except (LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: is not a report of evaluate.py; delete its folder and run again") from error
    return rows


def _row(target: Target, report: Any, results: Any, measure: str, pairs: int) -> Row:
    column, metric = report["metrics"][measure], METRICS[measure]
    published = getattr(target.published, measure, None)
    tolerance = getattr(target.tolerance, measure, None)
    ours = results["scores"].get(measure)
    verdict, remark = WITHIN, ""
    if ours is None:
        verdict, remark = UNMEASURED, str(column["not_run"])
    elif published is None or tolerance is None:
        verdict = UNPUBLISHED
    elif results["pictures"] < pairs:
        verdict, remark = TRIAL, f"{results['pictures']} of {counted(pairs, 'pair')}"
    elif (column["weights"] or {}).get("published") is False:
        verdict, remark = STAND_IN, f"{column['weights']['file']} is not the published network"
    elif abs(ours - published) > tolerance * (1 + ROUNDING):
        verdict = BETTER if (ours > published) == (metric.better == "higher") else WORSE
    return Row(
        measure=measure,
        setting=report["protocol"]["setting"],
        published=published,
        ours=ours,
        interval=results["intervals"].get(measure),
        tolerance=tolerance,
        reason=target.reason.get(measure, ""),
        verdict=verdict,
        remark=remark,
    )


def overall(rows: Sequence[Row]) -> str:
    """Return the verdict on all measures that have a published figure, as one sentence without its full stop."""
    judged = [row for row in rows if row.published is not None]
    trial = next((row.remark for row in judged if row.verdict == TRIAL), None)
    if trial:
        return f"no verdict: only {trial} were scored"
    if not judged:
        return "no verdict: no figure is published"

    def listed(*verdicts: str) -> str:
        return ", ".join(f"{METRICS[row.measure].title} ({row.verdict})" for row in judged if row.verdict in verdicts)

    outside, unknown = listed(WORSE, BETTER), listed(UNMEASURED, STAND_IN)
    if outside:
        return f"not reproduced: {outside}" + (f"; without verdict: {unknown}" if unknown else "")
    if unknown:
        return f"no verdict: {unknown}"
    return f"reproduced: {', '.join(METRICS[row.measure].title for row in judged)} within tolerance"
