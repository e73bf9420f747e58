"""Write the toy world to disk, in DressCode's layout: upper bodies, lower bodies and dresses in turn.

Both splits share their folders, so training pairs are numbered from ``000000`` and test pairs from ``500000``. In the
unpaired test list, the garments are a derangement within each category.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from siftvton.data.layouts import CATEGORIES
from siftvton.data.layouts.base import DENSEPOSE, GARMENT, GARMENT_MASK, GARMENT_PARSING, PARSING, POSE
from siftvton.data.layouts.dresscode import GARMENT_ENDING, PERSON_ENDING, TEST_LISTS, TRAIN_LIST, DressCode
from siftvton.errors import UsageError
from siftvton.files import is_file, write_image, write_json, write_text
from siftvton.prepare.joints import COCO_18, Joints
from siftvton.toy.world.frame import WORLD_SIZE
from siftvton.toy.world.joints import joints_of
from siftvton.toy.world.outfits import category_at, dressed, sample_clothing
from siftvton.toy.world.render import Rendering
from siftvton.toy.world.whole import ATR_OF, render_whole
from siftvton.toy.world.write import EXACT_MAP, PICTURES, RenderJob, claim, derangement, run, write_map

LAYOUT = "dresscode"  # in the note of the world
FIRST_TEST = 500_000  # number of the first test pair
LEAST_TEST = 2 * len(CATEGORIES)  # a derangement needs two garments of each category


def write_dresscode(
    folder: str | Path, *, train_pairs: int, test_pairs: int, seed: int = 0, height: int = 512, width: int = 384,
    exact_map: bool = False, workers: int = 0,
) -> None:  # fmt: skip
    """Write the toy world as :func:`siftvton.toy.world.write.write_world` does; the agnostic masks are written, too.

    Args:
        train_pairs, test_pairs: number of persons of all categories together, each with a garment of their own.
        exact_map: also write ``exact_map/<id>.npz`` into ``folder``.
        folder, seed, height, width, workers: see there.

    Raises:
        UsageError: fewer than 1 training or 6 test pairs, or the folder holds other data.
    """
    folder = Path(folder)
    if not 1 <= train_pairs <= FIRST_TEST or test_pairs < LEAST_TEST:
        raise UsageError(
            f"train_pairs={train_pairs} test_pairs={test_pairs} is not allowed with layout=dresscode; use train_pairs "
            f"of 1 to {FIRST_TEST} and test_pairs of {LEAST_TEST} or more"
        )
    claim(folder, {"seed": seed, "height": height, "width": width, "layout": LAYOUT}, CATEGORIES)
    jobs = []
    for split, count in (("train", train_pairs), ("test", test_pairs)):
        for index in range(count):
            files = _files(folder, split, index)
            map_path = folder / EXACT_MAP / f"{name_of(split, index)}{PERSON_ENDING}.npz" if exact_map else None
            jobs.append(RenderJob(seed, split, index, height, width, files, map_path))
    run(write_pair, jobs, workers)
    _write_list(folder, TRAIN_LIST, "train", range(train_pairs))
    _write_list(folder, TEST_LISTS["paired"], "test", range(test_pairs))
    _write_list(folder, TEST_LISTS["unpaired"], "test", _exchanged(test_pairs, seed))


def name_of(split: str, index: int) -> str:
    """Return what the names of all files of a pair begin with."""
    return f"{index + (FIRST_TEST if split == 'test' else 0):06d}"


def place_of(number: int) -> tuple[str, int]:
    """Return split and index of the pair with a number: the inverse of :func:`name_of`."""
    return ("test", number - FIRST_TEST) if number >= FIRST_TEST else ("train", number)


def _files(folder: Path, split: str, index: int) -> dict[str, Path]:
    """The path of each kind of file of a pair."""
    layout = DressCode(folder, category=category_at(index)).split(split)
    number = name_of(split, index)
    of_garment = (GARMENT, GARMENT_MASK, GARMENT_PARSING)
    names = {kind: GARMENT_ENDING if kind in of_garment else PERSON_ENDING for kind in (*PICTURES, PARSING, POSE)}
    return {kind: layout.candidates(kind, f"{number}{ending}.jpg")[0] for kind, ending in names.items()}


def _exchanged(count: int, seed: int) -> list[int]:
    """For each of ``count`` persons, another garment of the same category."""
    other = np.empty(count, int)
    for number, _ in enumerate(CATEGORIES):
        members = np.arange(number, count, len(CATEGORIES))
        other[members] = members[derangement(len(members), seed)]
    return [int(index) for index in other]


def _write_list(folder: Path, name: str, split: str, garments: list[int] | range) -> None:
    """Write a list for all categories, with their numbers, and one for each category; person i gets garments[i]."""
    lines = [
        (f"{name_of(split, person)}{PERSON_ENDING}.jpg {name_of(split, garment)}{GARMENT_ENDING}.jpg", person)
        for person, garment in enumerate(garments)
    ]
    numbers = {category: number for number, category in enumerate(CATEGORIES)}
    write_text(folder / name, "".join(f"{line} {numbers[category_at(person)]}\n" for line, person in lines))
    for category in CATEGORIES:
        own = "".join(f"{line}\n" for line, person in lines if category_at(person) == category)
        if own:
            write_text(folder / category / name, own)


def write_pair(job: RenderJob) -> None:
    """Render one pair, and write those of its files that do not exist."""
    person, outfit = dressed(job.seed, job.split, job.index, sample_clothing(job.seed, job.split, job.index))
    rendering = render_whole(person, outfit, job.height, job.width)
    for kind, path in job.files.items():
        if is_file(path):
            continue
        if kind == POSE:
            write_json(path, keypoints(joints_of(person, WORLD_SIZE)))
        else:
            write_image(path, _picture(kind, rendering))
    if job.exact_map and not is_file(job.exact_map):
        write_map(job.exact_map, rendering)


def _picture(kind: str, rendering: Rendering) -> np.ndarray:
    """The picture of a kind; DensePose and the parsing of the photo are label maps."""
    labels = {DENSEPOSE: rendering.densepose_labels, PARSING: ATR_OF[rendering.parsing]}
    return labels[kind] if kind in labels else PICTURES[kind](rendering)


def keypoints(joints: Joints) -> dict[str, Any]:
    """Return the content of a file with joints as DressCode has it: COCO-18; a missing joint is negative.

    Args:
        joints: in pixels of a photo of 512 × 384, as DressCode's joints are.
    """
    return {"keypoints": list(_rows(joints))}


def _rows(joints: Joints) -> Iterator[list[float]]:
    names = {number: name for name, number in COCO_18.items()}
    for number in range(18):
        x, y = joints.points.get(names.get(number, ""), (-1.0, -1.0))
        found = x >= 0
        yield [round(x, 3), round(y, 3), float(found), float(number if found else -1)]
