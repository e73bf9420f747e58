"""Check whether a data folder is ready for each command: read every file that the command would read."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from siftvton.correspondence import Correspondences, Frame
from siftvton.data.dataset import PERSON_KINDS
from siftvton.data.inspection import NO_FILE, NO_FOLDER, Finding, inspect_garment, inspect_matches, inspect_person
from siftvton.data.layouts.base import (
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    MATCHES,
    WORN_MASK,
    Layout,
    Split,
)
from siftvton.data.pairs import Pair
from siftvton.errors import InputError
from siftvton.tables import markdown_table
from siftvton.wording import counted

LISTED = 5  # files that are named for each kind of finding
GARMENT_KINDS = (GARMENT, GARMENT_MASK, GARMENT_PARSING)
NARROW = 0.6  # if all matches are within this share of the frame, they were probably measured in a smaller frame
ENOUGH_MATCHES = 100  # fewest matches for this judgement

Wanted = dict[tuple[str, str], bool]  # (kind, picture's name) -> whether the command needs the file


@dataclass
class Row:
    """The files that one command reads from one part of the data.

    Attributes:
        script: the command's name, with the setting if it matters.
        pairs: person and garment, as the command uses them.
        wanted: the command's files.
        trouble: why there are no pairs.
    """

    script: str
    pairs: list[Pair] = field(default_factory=list)
    wanted: Wanted = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)

    def want(self, kinds: Iterable[str], pairs: Sequence[Pair], required: bool = True) -> None:
        """Add the files of ``kinds`` for the pairs, by the name of the person's or the garment's picture."""
        for kind in kinds:
            names = [pair.garment if kind in GARMENT_KINDS else pair.person for pair in pairs]
            self.wanted.update({(kind, name): required for name in names})


@dataclass
class Part:
    """A split that is checked, the commands that read it, and what was found there."""

    name: str
    rows: list[Row]
    findings: list[Finding] = field(default_factory=list)
    matches: list[Correspondences] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def wanted(self) -> Wanted:
        together: Wanted = {}
        for row in self.rows:
            for key, required in row.wanted.items():
                together[key] = required or together.get(key, False)
        return together


def parts_of(layout: Layout, split: str) -> list[Part]:
    """Return the files that each command needs of a split; ``all``: of train and of test."""
    parts = []
    if split in ("all", "train"):
        parts.append(_training_part(layout))
    if split in ("all", "validation", "test"):
        parts.append(_sampling_part(layout, "test" if split == "all" else split))
    return parts


def _training_part(layout: Layout) -> Part:
    part = Part("train", [])
    preprocess = Row("preprocess_sift")
    preprocess.pairs = _pairs_of(preprocess, lambda: layout.split("train").matched_pairs())
    preprocess.want([IMAGE, GARMENT], preprocess.pairs)
    preprocess.want([DENSEPOSE, AGNOSTIC_MASK, *GARMENT_KINDS[1:]], preprocess.pairs, required=False)

    train = Row("train")
    train.pairs = _pairs_of(train, lambda: layout.split("train").pairs("paired"))
    train.want([*PERSON_KINDS, GARMENT, MATCHES], train.pairs)
    train.want([WORN_MASK], train.pairs, required=False)
    if not train.trouble:
        validation = _pairs_of(train, lambda: layout.split("validation").listed())
        train.want([*PERSON_KINDS, GARMENT], validation)
    part.rows += [preprocess, train]
    return part


def _sampling_part(layout: Layout, split: str) -> Part:
    part = Part(split, [])
    for setting in ("unpaired", "paired"):
        infer = Row(f"infer setting={setting}")
        infer.pairs = _pairs_of(infer, partial(_tried_on, layout, split, setting))
        infer.want([*PERSON_KINDS, GARMENT], infer.pairs)
        part.rows.append(infer)
    evaluate = Row("evaluate")
    evaluate.pairs = _pairs_of(evaluate, lambda: layout.split(split).listed())
    evaluate.want([IMAGE], evaluate.pairs)
    part.rows.append(evaluate)
    return part


def _tried_on(layout: Layout, split: str, setting: str) -> list[Pair]:
    return layout.split(split).pairs(setting)


def _pairs_of(row: Row, read: Callable[[], list[Pair]]) -> list[Pair]:
    """Return the pairs; if they cannot be read, return none and add the reason to the row's ``trouble``."""
    try:
        return read()
    except InputError as error:
        row.trouble.append(str(error))
        return []


def inspect_part(part: Part, layout: Layout, size: Frame, matches_folder: Path, frame: Frame) -> None:
    """Inspect the files that the part's commands read, and add what was found to the part."""
    kinds: dict[tuple[bool, str], set[str]] = defaultdict(set)  # (is a garment, name) -> kinds
    for kind, name in part.wanted:
        if kind != MATCHES:
            kinds[kind in GARMENT_KINDS, name].add(kind)
    if not kinds:
        return
    split = layout.split(part.name)

    def inspect(entry: tuple[tuple[bool, str], set[str]]) -> list[Finding]:
        (is_garment, name), wanted = entry
        return (inspect_garment if is_garment else inspect_person)(split, name, wanted, size)

    pool = ThreadPoolExecutor(os.cpu_count())  # threads are enough, since decoding releases the interpreter's lock
    try:
        found = pool.map(inspect, kinds.items())
        for findings in tqdm(found, total=len(kinds), desc=f"checking {part.name}", unit="picture"):
            part.findings += findings
    finally:
        pool.shutdown(cancel_futures=True)
    if _no_garment_is_worn(part, split):
        part.notes.append(
            f"no file in {GARMENT} has a person's file name, so it is not known which garments are worn; use "
            "setting=unpaired, or rename the garments"
        )
    for kind, name in part.wanted:
        if kind == MATCHES:
            matches, findings = inspect_matches(matches_folder, name, frame)
            part.findings += findings
            part.matches += [] if matches is None else [matches]


def _no_garment_is_worn(part: Part, split: Split) -> bool:
    """Whether the worn garment is missing for every person, so that ``paired`` cannot be used."""
    worn = {pair.garment for row in part.rows for pair in row.pairs if split.is_worn(pair)}
    missing = {finding.name for finding in part.findings if finding.kind == GARMENT and finding.title == NO_FILE}
    return bool(worn) and worn <= missing


def readiness_report(root: Path, parts: Sequence[Part]) -> tuple[str, bool]:
    """Return the report in Markdown, and whether the data are ready for every command."""
    rows, ready = [], True
    for part in parts:
        for row in part.rows:
            faults = row.trouble or _faults(row, part)
            ready &= not faults
            cells = (
                f"{row.script} ({part.name}, {counted(len(row.pairs), 'pair')})",
                "no" if faults else "yes",
                "; ".join(faults),
            )
            rows.append(cells)
    lines = [f"# Data in {root}", ""]
    for part in parts:
        lines += _matches_lines(part)
        lines += _findings_lines(part)
        lines += [f"- {part.name}: {note}" for note in part.notes]
    table = markdown_table(["command", "ready?", "what is missing or wrong"], rows, text_columns=3)
    return "\n".join([*lines, "", *table]) + "\n", ready


def _faults(row: Row, part: Part) -> list[str]:
    """List why the command cannot run, with one phrase for each kind of file."""
    missing: dict[str, set[str]] = defaultdict(set)
    wrong: dict[str, set[str]] = defaultdict(set)
    for finding in part.findings:
        required = row.wanted.get((finding.kind, finding.name))
        if required is None or finding.remark or (finding.missing and not required):
            continue
        (missing if finding.missing else wrong)[finding.kind].add(finding.name)
    total = Counter(kind for kind, _ in row.wanted)
    faults = []
    for kind in total:
        if missing[kind]:
            faults.append(f"{kind}: {len(missing[kind])} of {total[kind]} missing")
        if wrong[kind]:
            faults.append(f"{kind}: {len(wrong[kind])} of {total[kind]} wrong")
    return faults


def _findings_lines(part: Part) -> list[str]:
    """Return the lines for the findings, grouped by kind and fault: number, remedy and the first few files."""
    groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in sorted(part.findings, key=lambda finding: (finding.remark, finding.kind, finding.title)):
        groups[finding.kind, finding.title].append(finding)
    wanted = part.wanted
    total = Counter(kind for kind, _ in wanted)
    lines = []
    for (kind, title), findings in groups.items():
        first = findings[0]
        optional = first.missing and not any(wanted[finding.kind, finding.name] for finding in findings)
        lines.append(
            f"- {part.name}: {kind}: {title}: {len(findings)} of {total[kind]}"
            f"{' (optional)' if optional else ' (remark)' if first.remark else ''}; {first.remedy}"
        )
        if title == NO_FOLDER:  # kinds are named like VITON-HD's folders; other layouts name their folders differently
            folders = {finding.path.parent for finding in findings if finding.path.parent.name != kind}
            lines += [f"  - {folder}" for folder in sorted(folders)]
            continue
        lines += [
            f"  - {finding.path.name}{': ' if finding.detail else ''}{finding.detail}" for finding in findings[:LISTED]
        ]
        if len(findings) > LISTED:
            lines.append(f"  - … and {len(findings) - LISTED} more")
    return lines


def _matches_lines(part: Part) -> list[str]:
    """Return the lines that say how many pairs have matches, and whether the matches fill their frame."""
    if not part.matches:
        return []
    counts = np.array([len(matches) for matches in part.matches])
    lines = [
        f"- {part.name}: {MATCHES}: {counted(len(counts), 'pair')}, {(counts > 0).mean():.1%} with matches; "
        f"matches per pair: mean {counts.mean():.1f}, median {np.median(counts):g}, most {counts.max()}"
    ]
    height, width = part.matches[0].frame
    points = np.concatenate([np.concatenate([matches.person, matches.garment]) for matches in part.matches])
    if len(points) >= 2 * ENOUGH_MATCHES and (points.max(axis=0) < NARROW * np.array([width, height])).all():
        lines.append(
            f"- {part.name}: {MATCHES}: no point is beyond x = {points[:, 0].max():.0f} and y = "
            f"{points[:, 1].max():.0f} in a frame of {height} × {width} (height × width); data.matches_frame seems too "
            "large"
        )
    return lines
