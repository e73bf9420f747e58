"""Every pair of a data folder -> its file of correspondences (paper §3.1): processes, restart, counts, previews.

The output folder holds, beside the match files, ``preprocess_sift.yaml`` (the configuration), ``counts.jsonl`` (what
each filter left, one line a pair), ``matches.md`` (their sum), ``previews/`` and ``previews.jpg``.
"""

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from siftvton import cli
from siftvton.config import PreprocessSift
from siftvton.correspondence import Frame, matcher, read_matches, write_matches
from siftvton.correspondence.filters import PRESETS, Preset
from siftvton.correspondence.matching import RegionMatches, in_frame, joined, match_regions, regions_in_frame
from siftvton.correspondence.regions import BODY_PARTS, WHOLE
from siftvton.data import layout
from siftvton.data.sides import garment_faults, person_faults, read_densepose
from siftvton.errors import InputError, UsageError, first_line
from siftvton.files import (
    cannot_write,
    is_file,
    read_bytes,
    read_grey,
    read_image,
    read_labels,
    write_image,
    write_text,
)
from siftvton.pool import in_processes
from siftvton.visualize import contact_sheet, draw_matches

Counts = dict[str, dict[str, int]]  # region -> stage -> matches left after it

REGIONS = (*BODY_PARTS, WHOLE)
SIDES = ("densepose", "agnostic_mask", "parsing", "garment_mask")
SHEET_COLUMNS = 3


@dataclass(frozen=True)
class Job:
    """One pair: the files to read, None for a side picture that is not there, and the files to write."""

    person_id: str
    person: Path
    garment: Path
    densepose: Path | None
    agnostic: Path | None
    agnostic_mask: Path | None
    parsing: Path | None
    garment_mask: Path | None
    frame: Frame
    matcher: str
    preset: str
    joint: bool
    matches: Path
    preview: Path | None

    @property
    def sides(self) -> list[str]:
        """Names of the side pictures that are there."""
        return [side for side in SIDES if getattr(self, side) is not None]

    def path(self, kind: str) -> Path:
        """The picture of a kind of :mod:`siftvton.data.layout`."""
        path: Path | None = {
            layout.DENSEPOSE: self.densepose,
            layout.AGNOSTIC: self.agnostic,
            layout.AGNOSTIC_MASK: self.agnostic_mask,
            layout.GARMENT_PARSING: self.parsing,
            layout.GARMENT_MASK: self.garment_mask,
            layout.IMAGE: self.person,
            layout.GARMENT: self.garment,
        }[kind]
        assert path is not None, f"the pair has no {kind}"
        return path


@dataclass(frozen=True)
class Outcome:
    """What became of a pair: its counts, or None and the reason."""

    person_id: str
    counts: Counts | None
    failure: str = ""


def preprocess(config: PreprocessSift) -> None:
    """Match every pair of a split's folder that has no match file yet; print and save the table of counts.

    Raises:
        InputError: a folder or the pair list is missing or empty; or, after all other pairs are done (at once if
            ``strict``), a pair failed.
        UsageError: the output folder belongs to another configuration; the frame is no size.
    """
    jobs, failed, output = _plan(config)
    counts = _recorded(output / "counts.jsonl", jobs)
    to_do = [job for job in jobs if not _is_done(job, counts)]
    if len(to_do) < len(jobs):
        print(f"{len(jobs) - len(to_do)} of {len(jobs)} pairs are done already")

    workers = config.workers or os.cpu_count() or 1
    new, failures = _match_all(to_do, workers, output / "counts.jsonl", config.strict)
    counts |= new

    finished = [job for job in jobs if job.person_id not in failures]
    _write_sheet(output / "previews.jpg", [job for job in finished if job.preview], counts)
    pairs = len(jobs) + len(failed)
    failed += [failures[job.person_id] for job in jobs if job.person_id in failures]
    report = _report(config, jobs, [counts[job.person_id] for job in finished], failed)
    write_text(output / "matches.md", report)
    print(report, end="")
    if failed:
        raise InputError(f"{len(failed)} of {pairs} pairs failed, as listed; once repaired, the same command does them")


def output_folder(config: PreprocessSift) -> Path:
    """Where the match files go: the folder that is named, or the one in the split's folder."""
    named = config.output
    return Path(named) if named else layout.SplitFolder(config.data.root, config.data.split).folder / layout.MATCHES


def _plan(config: PreprocessSift) -> tuple[list[Job], list[str], Path]:
    """The pairs' jobs, why some pairs have none, and the output folder, ready to take the results."""
    height, width = config.data.matches_frame
    folder = layout.SplitFolder(config.data.root, config.data.split)
    for kind in (layout.IMAGE, layout.GARMENT):
        if not os.path.isdir(folder.folder / kind):
            raise InputError(f"{folder.folder / kind}: no such folder; data/README.md says how to lay the data out")
    pairs = layout.in_setting(layout.folder_pairs(config.data.root, config.data.split), "paired")

    output = output_folder(config)
    _claim(output, config)
    jobs, failed = [], []
    for index, pair in enumerate(pairs):
        preview = output / "previews" / f"{pair.person_id}.jpg" if index < config.preview else None
        try:
            garment = folder.find(layout.GARMENT, pair.garment)
            jobs.append(
                Job(
                    pair.person_id,
                    person=folder.candidates(layout.IMAGE, pair.person)[0],
                    garment=garment or folder.candidates(layout.GARMENT, pair.garment)[0],
                    densepose=folder.find(layout.DENSEPOSE, pair.person),
                    agnostic=folder.find(layout.AGNOSTIC, pair.person),
                    agnostic_mask=folder.find(layout.AGNOSTIC_MASK, pair.person),
                    parsing=folder.find(layout.GARMENT_PARSING, pair.garment),
                    garment_mask=folder.find(layout.GARMENT_MASK, pair.garment),
                    frame=(height, width),
                    matcher=config.matcher,
                    preset=config.preset,
                    joint=config.regions == "joint",
                    matches=layout.matches_path(output, pair.person),
                    preview=preview,
                )
            )
        except InputError as error:
            if config.strict:
                raise
            failed.append(str(error))
    return jobs, failed, output


def _claim(output: Path, config: PreprocessSift) -> None:
    """Make the output folder and save the configuration there, unless what lies there is of another."""
    saved = output / "preprocess_sift.yaml"
    if is_file(saved):
        keys = ("matcher", "preset", "regions", "data.matches_frame")
        before = cli.differences(config, saved, older={"matcher": "sift"})  # the only one before the key existed
        differences = [line for line in before if line.startswith(keys)]
        if differences:
            raise UsageError(
                f"output={output}: holds matches of other settings ({'; '.join(differences)}); choose another folder"
            )
    elif any(output.glob("*_sift_matches.json")):
        raise UsageError(
            f"output={output}: holds match files but no {saved.name}: they were not made here; choose another folder"
        )
    cli.save(replace(config, output=str(output)), saved)


def _is_done(job: Job, done: dict[str, Counts]) -> bool:
    """Whether the pair's match file is whole and as its counts say, and its preview is drawn if wanted."""
    if job.person_id not in done:
        return False
    try:
        if job.preview is not None:
            read_image(job.preview)
        return len(read_matches(job.matches, job.frame)) == _kept(done[job.person_id])
    except InputError:
        return False


def _kept(counts: Counts) -> int:
    return sum(left["minimum"] for left in counts.values())


def _recorded(path: Path, jobs: Sequence[Job]) -> dict[str, Counts]:
    """Pair -> counts as the lines of ``path`` tell.

    A damaged line says nothing, nor does one of a pair matched with other side pictures than are there now: such
    pairs are redone.

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
            if entry["sides"] == job.sides and _are_counts(entry["regions"], job):
                records[job.person_id] = entry["regions"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return records


def _are_counts(regions: dict[str, dict[str, int]], job: Job) -> bool:
    """Whether every region of the job has a number for stages of its preset, first and last among them, none growing.

    Raises:
        KeyError, TypeError, AttributeError: it has another form.
    """
    stages = PRESETS[job.preset].stages
    if set(regions) != (set(BODY_PARTS) if job.densepose else {WHOLE}):
        return False
    for left in regions.values():
        numbers = [left[stage] for stage in stages if stage in left]
        whole = len(numbers) == len(left) and {"ratio", "minimum"} <= set(left)
        if not whole or any(type(number) is not int for number in numbers):
            return False
        if numbers != sorted(numbers, reverse=True) or not 0 <= numbers[0] < 10**9:
            return False
    return True


def _match_all(
    jobs: Sequence[Job], workers: int, record: Path, strict: bool
) -> tuple[dict[str, Counts], dict[str, str]]:
    """Run the jobs, with a bar, adding each pair's counts to the file ``record`` as soon as they are there.

    Returns:
        Pair -> counts, and pair -> why it failed.

    Raises:
        InputError: a pair failed and ``strict`` is set, or nothing can be written.
    """
    counts, failures = {}, {}
    sides = {job.person_id: job.sides for job in jobs}
    if is_file(record) and not read_bytes(record).endswith(b"\n"):
        _append(record, "\n")  # closes a line that a stop cut short
    # Closing the outcomes ends the processes, also where `strict` stops half-way.
    with closing(in_processes(process, jobs, workers)) as outcomes:
        for outcome in tqdm(outcomes, total=len(jobs), desc="matching", unit="pair", disable=not jobs):
            if outcome.counts is not None:
                counts[outcome.person_id] = outcome.counts
                line = {"pair": outcome.person_id, "sides": sides[outcome.person_id], "regions": outcome.counts}
                _append(record, json.dumps(line) + "\n")
            elif strict:
                raise InputError(outcome.failure)
            else:
                failures[outcome.person_id] = outcome.failure
    return counts, failures


def _append(path: Path, text: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise cannot_write(path, error) from error


def process(job: Job) -> Outcome:
    """Match one pair and write its files; what is wrong with its pictures becomes the outcome's failure.

    Raises:
        InputError: its files cannot be written.
    """
    try:
        person, garment, found = _matched(job)
    except InputError as error:
        return Outcome(job.person_id, None, str(error))
    except (cv2.error, MemoryError) as error:
        height, width = job.frame
        reason = (
            f"{job.person}: cannot be matched at {height} × {width} ({first_line(error)}); "
            "give data.matches_frame a smaller size"
        )
        return Outcome(job.person_id, None, reason)
    kept = joined([each.kept for each in found], job.frame)
    if job.preview is not None:
        write_image(
            job.preview, draw_matches(person, garment, kept, joined([each.dropped for each in found], job.frame))
        )
    write_matches(job.matches, kept)
    return Outcome(job.person_id, {each.region: each.counts for each in found})


def _matched(job: Job) -> tuple[np.ndarray, np.ndarray, list[RegionMatches]]:
    """Photo and garment in the frame, and what each region's search found."""
    person, garment = read_image(job.person), read_image(job.garment)
    densepose = None if job.densepose is None else read_densepose(job.densepose)
    mask = None if job.agnostic_mask is None else read_grey(job.agnostic_mask)
    agnostic = None if job.agnostic is None or mask is None else read_image(job.agnostic)
    parsing = None if job.parsing is None else read_labels(job.parsing)
    garment_mask = None if job.garment_mask is None else read_grey(job.garment_mask)
    faults = (
        *person_faults(person, agnostic=agnostic, agnostic_mask=mask, densepose=densepose, any_size=True),
        *garment_faults(garment, garment_mask=garment_mask, parsing=parsing),
    )
    for fault in faults:
        if not fault.remark:
            raise fault.of(job.path(fault.kind))
    areas = regions_in_frame(
        job.frame, densepose=densepose, agnostic_mask=mask, parsing=parsing, garment_mask=garment_mask
    )
    person, garment = in_frame(person, job.frame), in_frame(garment, job.frame)
    return person, garment, match_regions(person, garment, areas, PRESETS[job.preset], job.joint, matcher(job.matcher))


def left_after(counts: Iterable[Counts], preset: Preset) -> dict[str, dict[str, int]]:
    """The matches that each stage left over a set of pairs: stage -> region -> number.

    A stage that did not run on a pair's region left what was there.
    """
    totals = {stage: dict.fromkeys(REGIONS, 0) for stage in preset.stages}
    for pair in counts:
        for region, left in pair.items():
            number = left["ratio"]
            for stage in preset.stages:
                number = left.get(stage, number)
                totals[stage][region] += number
    return totals


def _report(config: PreprocessSift, jobs: Sequence[Job], counts: Sequence[Counts], failed: Sequence[str]) -> str:
    """Markdown: what was found, the stages' table, the failures."""
    height, width = config.data.matches_frame
    kept = np.array([_kept(pair) for pair in counts], int)
    lines = [f"# Matches of {config.data.split}, preset `{config.preset}`, frame {height} × {width}", ""]
    if len(kept):
        lines += [
            f"{len(kept)} pairs, {(kept > 0).sum()} with a match ({(kept > 0).mean():.1%}); matches a pair: "
            f"mean {kept.mean():.1f}, median {np.median(kept):g}, most {kept.max()}.",
            "",
        ]
    there = [f"{side.replace('_', ' ')} {sum(side in job.sides for job in jobs)}" for side in SIDES]
    lines += [f"Side pictures found, of {len(jobs)}: {', '.join(there)}; a wider area stands in for a missing one.", ""]
    lines += _table(left_after(counts, PRESETS[config.preset]))
    if failed:
        lines += ["", f"{len(failed)} pairs failed:", "", *(f"- {reason}" for reason in failed)]
    return "\n".join(lines) + "\n"


def _table(totals: dict[str, dict[str, int]]) -> list[str]:
    """Stages down; dropped, left and share left over all regions, then left in each region that had matches."""
    regions = [region for region in REGIONS if totals["ratio"][region]]
    titles = ["stage", "dropped", "left", "share left", *(f"{region.replace('_', ' ')} left" for region in regions)]
    lines = [f"| {' | '.join(titles)} |", f"|---|{'---:|' * (len(titles) - 1)}"]
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
        lines.append(f"| {' | '.join(cells)} |")
        before = total
    return lines


def _write_sheet(path: Path, jobs: Sequence[Job], done: dict[str, Counts]) -> None:
    """All previews on one sheet, each with its id and how many of its matches were kept."""
    pictures, captions = [], []
    for job in jobs:
        assert job.preview is not None, "only drawn pairs are on the sheet"
        counts = done[job.person_id]
        pictures.append(read_image(job.preview))
        captions.append(f"{job.person_id}: {_kept(counts)} of {sum(left['ratio'] for left in counts.values())}")
    if pictures:
        rows = range(0, len(pictures), SHEET_COLUMNS)
        write_image(
            path,
            contact_sheet(
                [pictures[row : row + SHEET_COLUMNS] for row in rows],
                [captions[row : row + SHEET_COLUMNS] for row in rows],
            ),
        )
