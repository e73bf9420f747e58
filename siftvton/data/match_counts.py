"""Count how many matches each filter left: the record of a matching run with a line for each pair, and its table."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from siftvton.correspondence import Frame
from siftvton.correspondence.filters import PRESETS, Preset
from siftvton.correspondence.regions import BODY_PARTS, GARMENT_PARTS, WHOLE
from siftvton.data.match_jobs import SIDES, Counts, Job, kept_of
from siftvton.files import read_bytes
from siftvton.tables import markdown_table
from siftvton.wording import counted

REGIONS = (*BODY_PARTS, WHOLE)


def recorded(path: Path, jobs: Sequence[Job]) -> dict[str, Counts]:
    """Read the counts of each pair from the lines of ``path``: person id -> counts.

    A damaged line is ignored. So is the line of a pair that was matched with other pictures than exist now: a side
    picture has come or gone, or a file has another size. Such pairs are matched again. Lines of earlier versions lack
    the sizes and are used as they are.

    Raises:
        InputError: ``path`` cannot be read.
    """
    if not os.path.lexists(path):
        return {}
    known = {job.person_id: job for job in jobs}
    records = {}
    for line in read_bytes(path).decode("utf-8", "replace").splitlines():
        try:
            entry = json.loads(line)
            job = known[entry["pair"]]
            same = entry["sides"] == job.sides and entry.get("sizes", job.sizes) == job.sizes
            if same and _are_counts(entry["regions"], job):
                records[job.person_id] = entry["regions"]
            else:
                records.pop(job.person_id, None)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return records


def _are_counts(regions: dict[str, dict[str, int]], job: Job) -> bool:
    """Whether the counts are valid: each region of the job has counts of the preset's stages, which never increase.

    The first and the last stage are required.

    Raises:
        KeyError, TypeError, AttributeError: ``regions`` has another form.
    """
    stages = PRESETS[job.preset].stages
    if set(regions) != (set(GARMENT_PARTS[job.category]) if job.densepose else {WHOLE}):
        return False
    for left in regions.values():
        numbers = [left[stage] for stage in stages if stage in left]
        whole = len(numbers) == len(left) and {"ratio", "minimum"} <= set(left)
        if not whole or any(type(number) is not int for number in numbers):
            return False
        if numbers != sorted(numbers, reverse=True) or not 0 <= numbers[0] < 10**9:
            return False
    return True


def left_after(counts: Iterable[Counts], preset: Preset) -> dict[str, dict[str, int]]:
    """Sum the matches that each stage left over all pairs: stage -> region -> number.

    If a stage did not run for a region of a pair, the number of the stage before counts.
    """
    totals = {stage: dict.fromkeys(REGIONS, 0) for stage in preset.stages}
    for pair in counts:
        for region, left in pair.items():
            number = left["ratio"]
            for stage in preset.stages:
                number = left.get(stage, number)
                totals[stage][region] += number
    return totals


def matches_report(
    split: str, frame: Frame, preset: str, jobs: Sequence[Job], counts: Sequence[Counts], failed: Sequence[str]
) -> str:
    """Return a report in Markdown: the matches found, the table of stages, and the failures."""
    kept = np.array([kept_of(pair) for pair in counts], int)
    lines = [f"# Matches of the {split} split, preset `{preset}`, frame {frame[0]} × {frame[1]}", ""]
    if len(kept):
        lines += [
            f"{counted(len(kept), 'pair')}, {(kept > 0).sum()} with a match ({(kept > 0).mean():.1%}); "
            f"matches per pair: mean {kept.mean():.1f}, median {np.median(kept):g}, most {kept.max()}.",
            "",
        ]
    there = [f"{side.replace('_', ' ')} {sum(side in job.sides for job in jobs)}" for side in SIDES]
    lines += [
        f"Optional pictures found for {counted(len(jobs), 'pair')}: {', '.join(there)}. "
        "If one is missing, a wider area is searched.",
        "",
    ]
    lines += _table(left_after(counts, PRESETS[preset]))
    if failed:
        lines += ["", f"Pairs that failed: {len(failed)}", "", *(f"- {reason}" for reason in failed)]
    return "\n".join(lines) + "\n"


def _table(totals: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the table with one row for each stage.

    The columns are the matches dropped, left and the share left over all regions, then those left in each region that
    had matches.
    """
    regions = [region for region in REGIONS if totals["ratio"][region]]
    titles = ["stage", "dropped", "left", "share left", *(f"{region.replace('_', ' ')} left" for region in regions)]
    rows = []
    found = before = sum(totals["ratio"].values())
    for stage, left in totals.items():
        total = sum(left.values())
        cells = [
            "ratio test" if stage == "ratio" else stage.replace("_", " "),
            "" if stage == "ratio" else str(before - total),
            str(total),
            f"{total / found:.1%}" if found else "",
            *(str(left[region]) for region in regions),
        ]
        rows.append(cells)
        before = total
    return markdown_table(titles, rows)
