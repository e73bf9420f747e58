"""Write agnostic masks and agnostic pictures for a folder in DressCode's layout, which has neither.

A mask that the folder has nevertheless, in ``<category>/agnostic_masks``, is used as it is.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from siftvton.data.layouts.base import AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE, IMAGE, PARSING, POSE
from siftvton.data.layouts.dresscode import DressCode
from siftvton.data.sides import read_densepose
from siftvton.drawing import SHEET_ROWS
from siftvton.errors import InputError, first_line
from siftvton.files import is_file, read_grey, read_image, read_labels, write_image
from siftvton.pool import in_processes
from siftvton.prepare.category_mask import category_mask
from siftvton.prepare.framing import Framing
from siftvton.prepare.given import fitted, paint_mask
from siftvton.prepare.joints import Joints, largest, read_openpose
from siftvton.prepare.labels import ATR, to_cihp
from siftvton.prepare.mask import AgnosticMask, agnostic_picture
from siftvton.prepare.person import PreparedPerson
from siftvton.prepare.sheet import person_sheet
from siftvton.wording import counted


@dataclass(frozen=True)
class MaskJob:
    """The work for one person: files to read and files to write.

    Attributes:
        id: the picture's name without its suffix.
        category: of the garment that the person tries on.
        given: an agnostic mask to use as it is; None: draw one from joints and parsing.
        densepose: only drawn on the sheet; None: missing.
    """

    id: str
    category: str
    photo: Path
    pose: Path
    parsing: Path
    given: Path | None
    densepose: Path | None
    mask: Path
    agnostic: Path

    @property
    def inputs(self) -> list[Path]:
        return [self.photo, *([self.pose, self.parsing] if self.given is None else [self.given])]


@dataclass(frozen=True)
class MaskOutcome:
    """What became of a person: remarks, or the reason why there is no mask."""

    job: MaskJob
    remarks: tuple[str, ...] = ()
    failure: str = ""


@dataclass
class Made:
    """What became of all persons.

    Attributes:
        jobs: the persons with a mask, in the order of the lists.
        kept: number of persons whose files an earlier run wrote.
        remarks: sentence -> the persons that it is about.
        failures: one line for each person without a mask.
    """

    jobs: list[MaskJob] = field(default_factory=list)
    kept: int = 0
    remarks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    failures: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Say how many masks there are of each category, and where they come from."""
        counts = Counter(job.category for job in self.jobs)
        parts = ", ".join(f"{count} of {category}" for category, count in counts.items())
        kept = f", {self.kept} of them by an earlier run" if self.kept else ""
        given = sum(job.given is not None for job in self.jobs)
        used = f", {given} of them taken from the data folder" if given else ""
        return f"{counted(len(self.jobs), 'mask')} written{kept}{used}{f' ({parts})' if parts else ''}"


def jobs_of(source: DressCode, output: Path) -> list[MaskJob]:
    """Return a job for each person in any of the data set's lists.

    Raises:
        InputError: there is no list, or one is broken.
    """
    target = DressCode(source.root, agnostic=output).split("test")
    split = source.split("test")
    names = source.lists() or ["train_pairs.txt"]  # a missing list is reported
    persons = dict.fromkeys(pair.person for name in names for pair in source.listed(name))
    jobs = []
    for person in persons:
        photo, pose, parsing = (split.candidates(kind, person)[0] for kind in (IMAGE, POSE, PARSING))
        mask, agnostic = (target.candidates(kind, person)[0] for kind in (AGNOSTIC_MASK, AGNOSTIC))
        given, densepose = split.find(AGNOSTIC_MASK, person), split.find(DENSEPOSE, person)
        category = split.category(person)
        jobs.append(MaskJob(Path(person).stem, category, photo, pose, parsing, given, densepose, mask, agnostic))
    return jobs


def make_all(jobs: Sequence[MaskJob], workers: int, strict: bool) -> Made:
    """Run the jobs with a progress bar; keep files that are newer than what they are made from.

    Raises:
        InputError: a person failed and ``strict`` is set, or a file cannot be written.
    """
    made = Made()
    waiting = [job for job in jobs if not _is_done(job)]
    made.kept = len(jobs) - len(waiting)
    failed = set()
    with closing(in_processes(process, waiting, workers)) as outcomes:
        for outcome in tqdm(outcomes, total=len(waiting), desc="drawing masks", unit="person", disable=not waiting):
            if outcome.failure and strict:
                raise InputError(outcome.failure)
            if outcome.failure:
                failed.add(outcome.job)
                made.failures.append(outcome.failure)
            for remark in outcome.remarks:
                made.remarks[remark].append(outcome.job.id)
    made.jobs = [job for job in jobs if job not in failed]
    return made


def process(job: MaskJob) -> MaskOutcome:
    """Write the mask and the agnostic picture of one person.

    Raises:
        InputError: a file cannot be written.
    """
    try:
        photo = read_image(job.photo)
        drawn = _mask(job, photo)
    except InputError as error:
        return MaskOutcome(job, failure=str(error))
    except (cv2.error, MemoryError) as error:
        return MaskOutcome(job, failure=f"{job.photo}: cannot be prepared ({first_line(error)}); use a smaller picture")
    write_image(job.mask, drawn.mask)
    write_image(job.agnostic, agnostic_picture(photo, drawn.mask))
    return MaskOutcome(job, drawn.remarks)


def write_sheets(jobs: Sequence[MaskJob], folder: Path, count: int) -> list[Path]:
    """Draw the first ``count`` persons of each category on sheets in ``folder``; return the sheets' paths.

    Raises:
        InputError: a file is damaged, or a sheet cannot be written.
    """
    shown: dict[str, list[MaskJob]] = defaultdict(list)
    for job in jobs:
        if len(shown[job.category]) < count:
            shown[job.category].append(job)
    paths = []
    for category, some in shown.items():
        for number, start in enumerate(range(0, len(some), SHEET_ROWS), start=1):
            paths.append(folder / f"{category}-{number:03d}.jpg")
            write_image(paths[-1], person_sheet([(job.id, _shown(job)) for job in some[start : start + SHEET_ROWS]]))
    return paths


def _is_done(job: MaskJob) -> bool:
    """Whether both files exist and are newer than what they are made from."""
    written, inputs = (job.mask, job.agnostic), job.inputs
    if not all(map(is_file, (*written, *inputs))):
        return False
    return min(os.stat(path).st_mtime_ns for path in written) >= max(os.stat(path).st_mtime_ns for path in inputs)


def _mask(job: MaskJob, photo: np.ndarray) -> AgnosticMask:
    """Return the given mask, or draw one; an error names the file that is wrong."""
    if job.given is not None:
        return AgnosticMask(fitted(paint_mask(read_grey(job.given), job.given), photo, job.given, "photo"), ())
    labels, joints = _labels(job, photo), _joints(job, photo)
    try:
        parsing = to_cihp(labels, "atr")
    except InputError as error:
        raise InputError(f"{job.parsing}: {error}") from error
    try:
        return category_mask(job.category, joints, parsing, (photo.shape[0], photo.shape[1]), labels == ATR["bag"])
    except InputError as error:
        raise InputError(f"{job.photo}: {error}") from error


def _labels(job: MaskJob, photo: np.ndarray) -> np.ndarray:
    return fitted(read_labels(job.parsing), photo, job.parsing, "photo")


def _joints(job: MaskJob, photo: np.ndarray) -> Joints:
    """Return the joints in pixels of the photo."""
    return largest(read_openpose(job.pose, (photo.shape[0], photo.shape[1])))


def _shown(job: MaskJob) -> PreparedPerson:
    """Read what was written, for the sheet; joints and parsing only if the mask was drawn from them."""
    photo = read_image(job.photo)
    drawn = job.given is None
    return PreparedPerson(
        photo=photo,
        mask=read_grey(job.mask),
        agnostic=read_image(job.agnostic),
        densepose=None
        if job.densepose is None
        else fitted(read_densepose(job.densepose), photo, job.densepose, "photo"),
        joints=_joints(job, photo) if drawn else None,
        parsing=to_cihp(_labels(job, photo), "atr") if drawn else None,
        framing=Framing.whole((photo.shape[0], photo.shape[1])),
        remarks=(),
    )
