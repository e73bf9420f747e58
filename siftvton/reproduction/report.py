"""The report of a reproduction: the table, the reasons of the tolerances, the weights and the environment."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from siftvton.evaluation.report import ARROWS, METRICS
from siftvton.files import write_json, write_text
from siftvton.reproduction.config import Reproduce, Target
from siftvton.reproduction.judgement import Row, overall
from siftvton.reproduction.stages import Stage
from siftvton.reproduction.weights import Weights
from siftvton.tables import markdown_table


@dataclass(frozen=True)
class Ran:
    """What ran.

    Attributes:
        target: the published figures.
        weights: what was fetched.
        checkpoint: the weights that were judged.
        stages: in their order.
        entries: the record of the finished stages, by name.
    """

    config: Reproduce
    target: Target
    weights: Weights
    checkpoint: str
    stages: Sequence[Stage]
    entries: Mapping[str, Any]


def write_report(ran: Ran, rows: Sequence[Row]) -> str:
    """Write ``verdict.json`` and ``verdict.md`` to the output folder; return the latter's text."""
    output = Path(ran.config.output)
    text = markdown(ran, rows)
    content = {
        "what": ran.config.what,
        "verdict": overall(rows),
        "measures": [asdict(row) for row in rows],
        "published_in": ran.target.row,
        "note": ran.target.note,
        "weights": asdict(ran.weights),
        "judged": ran.checkpoint,
        "limit": ran.config.limit,
        "pairs": ran.config.pairs,
        "seed": ran.config.seed,
        "stages": {stage.name: {**ran.entries[stage.name], "command": stage.command} for stage in ran.stages},
    }
    write_json(output / "verdict.json", content)
    write_text(output / "verdict.md", text)
    return text


def markdown(ran: Ran, rows: Sequence[Row]) -> str:
    """The page: the verdict, the table, and what one needs to repeat or doubt it."""
    weights = ran.weights
    lines = [
        f"# Reproduction of {ran.config.what}",
        "",
        f"**{_capital(overall(rows))}.**",
        "",
        *_table(rows),
        "",
        "The interval is a 95 % bootstrap interval over pictures, or over KID's subsets.",
        "",
        f"- Published figures: {ran.target.row or 'no source is given'}.",
        *([f"- Known differences: {ran.target.note}."] if ran.target.note else []),
        *_remarks(rows),
        *(f"- Tolerance of {METRICS[row.measure].title}: {row.reason}." for row in rows if row.reason),
        "",
        "## Weights",
        "",
        f"- fetched: {weights.source}" + (f", revision {weights.revision}" if weights.revision else ""),
        f"- SHA-256: {weights.sha256}; compared with: {weights.checked}",
        f"- judged: {ran.checkpoint}",
        "",
        "## Environment",
        "",
        *_environments(ran),
        f"- seed of training, sampling and KID's subsets: {ran.config.seed}",
        "",
        "## Commands",
        "",
        "Each command's output folder also holds its resolved configuration.",
        "",
        "```text",
        *(stage.line(ran.config.settings) for stage in ran.stages),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row]) -> list[str]:
    titles = ["measure", "setting", "verdict", "published", "ours", "interval", "ours − published", "tolerance"]
    return markdown_table(titles, [_cells(row) for row in rows], text_columns=3)


def _cells(row: Row) -> list[str]:
    metric = METRICS[row.measure]

    def shown(value: float | None, sign: str = "") -> str:
        return "–" if value is None else f"{value:{sign}.{metric.digits}f}"

    difference = None if row.ours is None or row.published is None else row.ours - row.published
    return [
        f"{metric.title} {ARROWS[metric.better]}",
        row.setting,
        row.verdict,
        shown(row.published),
        shown(row.ours),
        " to ".join(map(shown, row.interval)) if row.interval else "–",
        shown(difference, "+"),
        "–" if row.tolerance is None else f"± {row.tolerance:g}",
    ]


def _remarks(rows: Sequence[Row]) -> list[str]:
    """One line for each reason why measures have no verdict."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.remark:
            reasons.setdefault((row.verdict, row.remark), []).append(METRICS[row.measure].title)
    return [f"- {', '.join(titles)}: {verdict}: {remark}." for (verdict, remark), titles in reasons.items()]


def _environments(ran: Ran) -> list[str]:
    """One line for the device, the versions and the commit of each group of stages that ran on the same."""
    groups: list[tuple[list[str], Mapping[str, Any]]] = []
    for stage in ran.stages:
        found = ran.entries[stage.name]["environment"]
        same = next((names for names, other in groups if other == found), None)
        if same is None:
            groups.append(([stage.name], found))
        else:
            same.append(stage.name)
    lines = []
    for names, found in groups:
        versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
        python = f"Python {found['python']}" + (f", CUDA {found['cuda']}" if found["cuda"] else "")
        where = "all stages" if len(groups) == 1 else ", ".join(names)
        commit = f"commit {found['commit'] or 'unknown'}"
        lines.append(f"- {where}: {'; '.join((found['device'], found['system'], python, versions, commit))}")
    return lines


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
