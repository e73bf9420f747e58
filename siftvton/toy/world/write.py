"""Write the toy world to disk, in VITON-HD's layout.

Persons are numbered from ``00000_00.jpg`` in each split, and person i wears garment i. The training list is paired.
In the test list, the garments are a derangement: no person is listed with their own garment.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from siftvton.data.layouts.base import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    PARSING,
    POSE,
    WORN_MASK,
)
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.draws import numpy_generator
from siftvton.errors import UsageError
from siftvton.files import (
    cannot_write,
    is_file,
    read_json,
    write_image,
    write_json,
    write_labels,
    write_text,
    written_whole,
)
from siftvton.pool import in_processes
from siftvton.prepare.joints import openpose
from siftvton.prepare.labels import CIHP_COLOURS
from siftvton.toy.world.garments import sample_garment
from siftvton.toy.world.joints import joints_of
from siftvton.toy.world.persons import sample_person
from siftvton.toy.world.render import Rendering, render

EXACT_MAP = "exact_map"  # a folder beside VITON-HD's; the map of a person is <id>.npz
WORLD_FILE = "world.json"


def _white(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255


PICTURES: dict[str, Callable[[Rendering], np.ndarray]] = {
    IMAGE: lambda r: r.photo,
    DENSEPOSE: lambda r: r.densepose,
    AGNOSTIC: lambda r: r.agnostic,
    AGNOSTIC_MASK: lambda r: _white(r.agnostic_mask),
    GARMENT: lambda r: r.garment,
    GARMENT_MASK: lambda r: _white(r.garment_mask),
    GARMENT_PARSING: lambda r: np.repeat(r.garment_parsing[..., None], 3, axis=2),
    WORN_MASK: lambda r: _white(r.worn_mask),
}


@dataclass(frozen=True)
class RenderJob:
    """One pair to render, and the paths of its files."""

    seed: int
    split: str
    index: int
    height: int
    width: int
    files: dict[str, Path]
    exact_map: Path | None

    @property
    def paths(self) -> list[Path]:
        return [*self.files.values(), *([self.exact_map] if self.exact_map else [])]


def write_world(
    folder: str | Path, *, train_pairs: int, test_pairs: int, seed: int = 0, height: int = 512, width: int = 384,
    exact_map: bool = False, workers: int = 0,
) -> None:  # fmt: skip
    """Write the toy world. Files that exist are kept, so a stopped call can be repeated, and a world can grow.

    Args:
        folder: the folder that ``data.root`` will name.
        train_pairs, test_pairs: number of persons, each with a garment of their own.
        seed: seed of the world.
        height, width: size of every picture, px.
        exact_map: also write ``exact_map/<id>.npz``. Its ``person_to_garment`` is (height, width, 2) float16, NaN
            where no garment is visible; values above 256 are rounded to ¼ px.
        workers: number of processes; 0: one for each core.

    Raises:
        UsageError: fewer than 1 training or 2 test pairs, or the folder holds another world.
    """
    folder = Path(folder)
    if train_pairs < 1 or test_pairs < 2:
        raise UsageError(
            f"train_pairs={train_pairs} test_pairs={test_pairs} is not allowed; use train_pairs of 1 or more and "
            "test_pairs of 2 or more"
        )
    claim(folder, {"seed": seed, "height": height, "width": width}, ("train", "test"))
    counts = {"train": train_pairs, "test": test_pairs}
    jobs = []
    for split, count in counts.items():
        make_folder(folder / split)
        layout = VitonHD(folder).split(split)
        for index in range(count):
            name = file_name(index)
            files = {kind: layout.candidates(kind, name)[0] for kind in (*PICTURES, PARSING, POSE)}
            map_path = folder / split / EXACT_MAP / f"{Path(name).stem}.npz" if exact_map else None
            jobs.append(RenderJob(seed, split, index, height, width, files, map_path))
    run(write_pair, jobs, workers)
    names = [file_name(index) for index in range(train_pairs)]
    write_text(folder / "train_pairs.txt", "".join(f"{name} {name}\n" for name in names))
    others = derangement(test_pairs, seed)
    lines = [f"{file_name(index)} {file_name(int(other))}\n" for index, other in enumerate(others)]
    write_text(folder / "test_pairs.txt", "".join(lines))


def run(function: Callable[[RenderJob], None], jobs: Sequence[RenderJob], workers: int) -> None:
    """Run the jobs that have a file to write; ``workers`` is the number of processes, 0: one for each core."""
    to_do = [job for job in jobs if not all(is_file(path) for path in job.paths)]
    with closing(in_processes(function, to_do, workers or os.cpu_count() or 1)) as done:
        for _ in tqdm(done, total=len(to_do), desc="toy world", unit="pair", disable=not to_do):
            pass


def make_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def file_name(index: int) -> str:
    return f"{index:05d}_00.jpg"


def derangement(count: int, seed: int) -> np.ndarray:
    """(count,) a random permutation of 0…count − 1 without a fixed point: one cycle through all numbers."""
    order = numpy_generator(seed, "derangement", count).permutation(count)
    other = np.empty(count, int)
    other[order] = np.roll(order, -1)
    return other


def claim(folder: Path, world: dict[str, Any], data: Sequence[str]) -> None:
    """Make the folder, and note in it which world it holds.

    Args:
        folder: the world's folder.
        world: the note.
        data: folders in it that will hold data; none of them may exist without the note.

    Raises:
        UsageError: the folder holds another world or other data.
    """
    note = folder / WORLD_FILE
    if is_file(note):
        found = read_json(note)
        if found != world:
            raise UsageError(
                f"output={folder} is not allowed: it holds another world ({found}, not {world}); use another folder"
            )
    elif any(os.path.lexists(folder / each) for each in data):
        raise UsageError(f"output={folder} is not allowed: it holds data other than a toy world; use another folder")
    write_json(note, world)


def write_pair(job: RenderJob) -> None:
    """Render one pair, and write those of its files that do not exist."""
    key = job.seed, job.split, job.index
    person = sample_person(*key)
    rendering = render(person, sample_garment(*key), job.height, job.width)
    for kind, path in job.files.items():
        if is_file(path):
            continue
        if kind == POSE:
            write_json(path, openpose(joints_of(person, (job.height, job.width))))
        elif kind == PARSING:
            write_labels(path, rendering.parsing, CIHP_COLOURS)
        else:
            write_image(path, PICTURES[kind](rendering))
    if job.exact_map and not is_file(job.exact_map):
        write_map(job.exact_map, rendering)


def write_map(path: Path, rendering: Rendering) -> None:
    with written_whole(path) as beside:
        np.savez_compressed(beside, person_to_garment=rendering.person_to_garment.astype(np.float16))
