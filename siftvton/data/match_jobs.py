"""Match the pictures of one pair and write its match file (paper §3.1), and do so for many pairs in processes."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from siftvton.correspondence import Frame, read_matches, write_matches
from siftvton.correspondence.filters import PRESETS
from siftvton.correspondence.matchers import matcher as matcher_of
from siftvton.correspondence.matching import RegionMatches, in_frame, joined, match_regions, regions_in_frame
from siftvton.data.layouts.base import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    Split,
)
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair
from siftvton.data.sides import garment_faults, person_faults, read_densepose
from siftvton.drawing import contact_sheet, draw_matches
from siftvton.errors import InputError, first_line
from siftvton.files import cannot_write, is_file, read_bytes, read_grey, read_image, read_labels, write_image
from siftvton.pool import in_processes

Counts = dict[str, dict[str, int]]  # region -> stage -> matches left after it

SIDES = ("densepose", "agnostic_mask", "parsing", "garment_mask")
SHEET_COLUMNS = 3


@dataclass(frozen=True)
class Job:
    """The work for one pair: files to read (None: a missing side picture), settings and files to write."""

    person_id: str
    category: str
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
    weights: Path | None = None

    @property
    def sides(self) -> list[str]:
        """Names of the side pictures that exist."""
        return [side for side in SIDES if getattr(self, side) is not None]

    @cached_property
    def sizes(self) -> dict[str, int | None]:
        """Size in bytes of each picture that decides the matches, by its name; None for a missing file."""
        return {name: _size_of(getattr(self, name)) for name in ("person", "garment", *self.sides)}

    def path(self, kind: str) -> Path:
        """Return the path of the picture of a kind from :mod:`siftvton.data.layouts.base`."""
        path: Path | None = {
            DENSEPOSE: self.densepose,
            AGNOSTIC: self.agnostic,
            AGNOSTIC_MASK: self.agnostic_mask,
            GARMENT_PARSING: self.parsing,
            GARMENT_MASK: self.garment_mask,
            IMAGE: self.person,
            GARMENT: self.garment,
        }[kind]
        assert path is not None, f"the pair has no {kind}"
        return path


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


@dataclass(frozen=True)
class Outcome:
    """The result for a pair: its counts, or None and the reason why it failed."""

    person_id: str
    counts: Counts | None
    failure: str = ""


def job_of(
    split: Split,
    pair: Pair,
    output: Path,
    frame: Frame,
    matcher: str,
    preset: str,
    joint: bool,
    preview: bool,
    weights: Path | None = None,
) -> Job:
    """Return the job of one pair.

    Args:
        split: finds the files.
        pair: person and worn garment.
        output: the folder of the match files.
        frame: (height, width) at which to match, pixels.
        matcher: name of the matcher.
        preset: name of the set of filters.
        joint: search all regions together.
        preview: also draw the matches.
        weights: the folder of the matcher's weights.

    Raises:
        InputError: a side picture exists under several names.
    """
    garment = split.find(GARMENT, pair.garment)
    return Job(
        pair.person_id,
        category=split.category(pair.person),
        person=split.candidates(IMAGE, pair.person)[0],
        garment=garment or split.candidates(GARMENT, pair.garment)[0],
        densepose=split.find(DENSEPOSE, pair.person),
        agnostic=split.find(AGNOSTIC, pair.person),
        agnostic_mask=split.find(AGNOSTIC_MASK, pair.person),
        parsing=split.find(GARMENT_PARSING, pair.garment),
        garment_mask=split.find(GARMENT_MASK, pair.garment),
        frame=frame,
        matcher=matcher,
        preset=preset,
        joint=joint,
        matches=matches_path(output, pair.person),
        preview=output / "previews" / f"{pair.person_id}.jpg" if preview else None,
        weights=weights,
    )


def is_done(job: Job, counts: Counts | None) -> bool:
    """Whether the pair's match file is complete and agrees with its counts, and a requested preview exists."""
    if counts is None:
        return False
    try:
        if job.preview is not None:
            read_image(job.preview)
        return len(read_matches(job.matches, job.frame)) == kept_of(counts)
    except InputError:
        return False


def kept_of(counts: Counts) -> int:
    """Return the number of matches that passed every filter, in all regions together."""
    return sum(left["minimum"] for left in counts.values())


def match_all(
    jobs: Sequence[Job], workers: int, record: Path, strict: bool
) -> tuple[dict[str, Counts], dict[str, str]]:
    """Run the jobs with a progress bar, and append the counts of each finished pair to the file ``record``.

    Returns:
        Person id -> counts, and person id -> why the pair failed.

    Raises:
        InputError: a pair failed and ``strict`` is set, or a file cannot be written.
    """
    counts, failures = {}, {}
    of_person = {job.person_id: job for job in jobs}
    if is_file(record) and not read_bytes(record).endswith(b"\n"):
        _append(record, "\n")  # ends a line that was cut short when an earlier run was stopped
    # Closing the outcomes ends the processes, also if `strict` stops early.
    with closing(in_processes(process, jobs, workers)) as outcomes:
        for outcome in tqdm(outcomes, total=len(jobs), desc="matching", unit="pair", disable=not jobs):
            if outcome.counts is not None:
                counts[outcome.person_id] = outcome.counts
                job = of_person[outcome.person_id]
                line = {"pair": job.person_id, "sides": job.sides, "sizes": job.sizes, "regions": outcome.counts}
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
    """Match one pair and write its files; a fault of its pictures is returned as the outcome's ``failure``.

    Raises:
        InputError: a file cannot be written.
    """
    try:
        person, garment, found = _matched(job)
    except InputError as error:
        return Outcome(job.person_id, None, str(error))
    except (cv2.error, MemoryError) as error:
        height, width = job.frame
        reason = (
            f"{job.person}: cannot be matched at {height} × {width} ({first_line(error)}); "
            "use a smaller data.matches_frame"
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
    """Return photo and garment at the frame's size, and the matches found in each region."""
    person, garment = read_image(job.person), read_image(job.garment)
    densepose = None if job.densepose is None else read_densepose(job.densepose)
    mask = None if job.agnostic_mask is None else read_grey(job.agnostic_mask)
    agnostic = None if job.agnostic is None or mask is None else read_image(job.agnostic)
    parsing = None if job.parsing is None else read_labels(job.parsing)
    garment_mask = None if job.garment_mask is None else read_grey(job.garment_mask)
    faults = (
        *person_faults(person, agnostic=agnostic, agnostic_mask=mask, densepose=densepose, any_size=True),
        *garment_faults(garment, garment_mask=garment_mask, parsing=parsing, category=job.category),
    )
    for fault in faults:
        if not fault.remark:
            raise fault.of(job.path(fault.kind))
    areas = regions_in_frame(
        job.frame,
        densepose=densepose,
        agnostic_mask=mask,
        parsing=parsing,
        garment_mask=garment_mask,
        category=job.category,
    )
    person, garment = in_frame(person, job.frame), in_frame(garment, job.frame)
    matcher = matcher_of(job.matcher, job.weights)
    return person, garment, match_regions(person, garment, areas, PRESETS[job.preset], job.joint, matcher)


def write_sheet(path: Path, jobs: Sequence[Job], done: Mapping[str, Counts]) -> None:
    """Write all previews on one sheet, each with its person's id and the number of matches kept and found."""
    pictures, captions = [], []
    for job in jobs:
        assert job.preview is not None, "only pairs with a preview are on the sheet"
        counts = done[job.person_id]
        pictures.append(read_image(job.preview))
        captions.append(f"{job.person_id}: {kept_of(counts)} of {sum(left['ratio'] for left in counts.values())}")
    if pictures:
        rows = range(0, len(pictures), SHEET_COLUMNS)
        write_image(
            path,
            contact_sheet(
                [pictures[row : row + SHEET_COLUMNS] for row in rows],
                [captions[row : row + SHEET_COLUMNS] for row in rows],
            ),
        )
