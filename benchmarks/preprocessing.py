"""Preprocessing compared with a plain loop: pairs per second, and whether the matches are the same.

python benchmarks/preprocessing.py [PAIRS]    interleaved rounds on PAIRS toy pairs of 512×384; default 36

The plain loop uses one process and one thread, and paints, searches, matches and filters each region separately. Ours
uses all cores; its time includes starting and stopping processes and writing reports. Without parsing, all regions
share one garment picture. CPU time is that of all processes together; other work on the machine changes it less than
pairs per second. A last table shows how one process spends it. It takes a few minutes on two cores. The tables are
printed, and the ratios go to `outputs/bench.json`.
"""

import contextlib
import io
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from unittest import mock

import cv2
import numpy as np
from arguments import count, parser_of
from results import record, spread
from tqdm import tqdm

from siftvton.commands.preprocess_sift import PreprocessSift, preprocess_sift
from siftvton.correspondence import Correspondences, filters, matching, read_matches, sift, write_matches
from siftvton.correspondence.matching import in_frame, joined, regions_in_frame
from siftvton.correspondence.sift import BLACK, WHITE, painted
from siftvton.data import match_jobs
from siftvton.data.config import SiftData
from siftvton.data.layouts.base import AGNOSTIC_MASK, DENSEPOSE, GARMENT, GARMENT_MASK, GARMENT_PARSING, IMAGE, Split
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.match_folder import matches_path
from siftvton.data.pairs import Pair
from siftvton.data.sides import read_densepose
from siftvton.files import read_grey, read_image, read_labels
from siftvton.memory import keep_freed_memory, use_large_pages
from siftvton.toy.world.write import write_world

ROUNDS = 7
FRAME = (512, 384)
SAME = 0.01  # px
RECORDED = {"ours": "same_matches", "ours, joint": "joint"}
STAGES: dict[str, list[tuple[ModuleType, str]]] = {
    "decoding": [(match_jobs, name) for name in ("read_image", "read_grey", "read_labels", "read_densepose")],
    "regions": [(match_jobs, "regions_in_frame")],
    "painting": [(sift, "painted")],
    "SIFT": [(sift, "detect")],
    "ratio test": [(sift, "match_detected")],
    "filters": [(matching.filters, "survivors")],
    "writing": [(match_jobs, "write_matches")],
}


def plain_loop(split: Split, pairs: list[Pair], output: Path) -> dict[str, int]:
    """Write match files for the pairs; returns the number of regions, and of regions that are empty on a side."""
    shares = {"regions": 0, "empty": 0}
    for pair in pairs:
        parsing = split.find(GARMENT_PARSING, pair.garment)
        areas = regions_in_frame(
            FRAME,
            densepose=read_densepose(split.require(DENSEPOSE, pair.person)),
            agnostic_mask=read_grey(split.require(AGNOSTIC_MASK, pair.person)),
            parsing=None if parsing is None else read_labels(parsing),
            garment_mask=read_grey(split.require(GARMENT_MASK, pair.garment)),
        )
        person = in_frame(read_image(split.require(IMAGE, pair.person)), FRAME)
        garment = in_frame(read_image(split.require(GARMENT, pair.garment)), FRAME)
        kept = []
        for area in areas:
            shares["regions"] += 1
            shares["empty"] += not (area.person.any() and area.garment.any())
            matches = sift.match_detected(
                sift.detect(painted(person, area.person, BLACK)), sift.detect(painted(garment, area.garment, WHITE))
            )
            kept.append(matches[filters.survivors(matches, FRAME[1], filters.PRESETS["published"])["minimum"]])
        write_matches(matches_path(output, pair.person), joined(kept, FRAME))
    return shares


def ours(data: Path, output: Path, regions: str, workers: int = 0, frame: tuple[int, int] = FRAME) -> None:
    """Run the preprocessing command without its printed text.

    Args:
        workers: number of processes; 0: one for each core.
        frame: (height, width) of the pictures on which matches are found.
    """
    found = SiftData(root=str(data), matches_frame=list(frame))
    config = PreprocessSift(data=found, output=str(output), regions=regions, workers=workers, preview=0)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        preprocess_sift(config)


def cpu_seconds() -> float:
    """CPU time of this process and of its child processes that have ended."""
    return sum(os.times()[:4])


def stages(data: Path, output: Path) -> None:
    """Print how one process spends its CPU time on a pair."""
    split = VitonHD(str(data)).split("train")
    settings = {"matcher": "sift", "preset": "published", "joint": False, "preview": False}
    jobs = [match_jobs.job_of(split, pair, output, FRAME, **settings) for pair in split.matched_pairs()]
    spent: Counter[str] = Counter()

    def timed(stage: str, function: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            start = time.process_time()
            result = function(*given, **named)
            spent[stage] += time.process_time() - start
            return result

        return call

    keep_freed_memory()
    use_large_pages()
    match_jobs.process(jobs[0])
    with contextlib.ExitStack() as patches:
        for stage, places in STAGES.items():
            for module, name in places:
                patches.enter_context(mock.patch.object(module, name, timed(stage, getattr(module, name))))
        start = time.process_time()
        for job in jobs:
            match_jobs.process(job)
        total = time.process_time() - start
    spent["checks and the rest"] = total - sum(spent.values())
    print("\n| stage | CPU ms per pair | share |\n|---|---:|---:|")
    for stage, seconds in spent.items():
        print(f"| {stage} | {seconds / len(jobs) * 1e3:.1f} | {seconds / total:.0%} |")


def differ(first: Correspondences, second: Correspondences) -> bool:
    """Whether two lists of matches differ, in number or by more than a hundredth of a pixel."""
    if len(first) != len(second):
        return True
    sides = ((first.person, second.person), (first.garment, second.garment))
    return any(np.abs(one - other).max(initial=0) > SAME for one, other in sides)


def compare(data: Path, scratch: Path, name: str, suffix: str = "") -> None:
    """Run all forms in interleaved rounds; print a table and record the ratios."""
    folder = VitonHD(str(data)).split("train")
    pairs = VitonHD(str(data)).split("train").matched_pairs()
    shares: dict[str, int] = {}
    forms: dict[str, Callable[[Path], object]] = {
        "plain loop": lambda output: shares.update(plain_loop(folder, pairs, output)),
        "ours": lambda output: ours(data, output, "separate"),
        "ours, joint": lambda output: ours(data, output, "joint"),
    }
    rates: dict[str, list[float]] = {form: [] for form in forms}
    used: dict[str, list[float]] = {form: [] for form in forms}
    for _ in tqdm(range(ROUNDS), desc=name, unit="round", leave=False):
        for form, run in forms.items():
            shutil.rmtree(scratch / form, ignore_errors=True)
            start, cpu = time.perf_counter(), cpu_seconds()
            run(scratch / form)
            rates[form].append(len(pairs) / (time.perf_counter() - start))
            used[form].append((cpu_seconds() - cpu) / len(pairs) * 1e3)
    kept = {form: [read_matches(matches_path(scratch / form, pair.person), FRAME) for pair in pairs] for form in forms}
    print(f"\n{name}: {len(pairs)} pairs, {shares['empty']} of {shares['regions']} regions empty")
    print(
        "\n| form | pairs per second | ratio to plain | CPU ms per pair | matches | pairs with other matches |\n"
        "|---|---:|---:|---:|---:|---:|"
    )
    for form in forms:
        ratio = np.array(rates[form]) / np.array(rates["plain loop"])
        others = sum(differ(*two) for two in zip(kept[form], kept["plain loop"], strict=True))
        print(
            f"| {form} | {np.median(rates[form]):.1f} | {spread(ratio, 2)} | "
            f"{np.median(used[form]):.0f} | {sum(map(len, kept[form]))} | {others} |"
        )
        if form in RECORDED:
            record(**{f"preprocess_{RECORDED[form]}_over_plain_pairs_per_s{suffix}": float(np.median(ratio))})


def main(pairs: int) -> None:
    with TemporaryDirectory() as scratch:
        data = Path(scratch) / "toy"
        write_world(data, train_pairs=pairs, test_pairs=2, seed=0, height=FRAME[0], width=FRAME[1])
        compare(data, Path(scratch), "with parsing")
        parsing, aside = data / "train" / GARMENT_PARSING, Path(scratch) / "parsing"
        parsing.rename(aside)
        compare(data, Path(scratch), "without parsing", "_without_parsing")
        aside.rename(parsing)
        stages(data, Path(scratch) / "stages")  # last, since it changes how this process keeps memory


if __name__ == "__main__":
    cv2.setNumThreads(1)
    print(f"{os.cpu_count()} cores")
    parser = parser_of(__doc__)
    parser.add_argument("pairs", type=count, nargs="?", default=36, help="number of toy pairs; default: 36")
    main(**vars(parser.parse_args()))
