"""SIFT on the toy world: how many matches each stage keeps and how many of them are right, by preset and search.

A match is right if the exact map takes the person's point to within 4 px of the garment's point. Pictures are
compressed as JPEG, like the files of the toy world. ``python benchmarks/toy_matches.py 300`` renders 300 pairs and
prints tables in Markdown.
"""

import sys
import time
from collections.abc import Sequence

import cv2
import numpy as np
from tqdm import tqdm

from siftvton.correspondence.filters import PRESETS, Preset
from siftvton.correspondence.matching import RegionMatches, match_regions, regions_in_frame
from siftvton.draws import numpy_generator
from siftvton.toy.world.garments import PRINTS, sample_garment
from siftvton.toy.world.persons import sample_person
from siftvton.toy.world.render import Rendering, render

SEED, SPLIT = 0, "train"
FRAME = (512, 384)
REGIONS = ("separate", "joint")
TOLERANCE = 4.0  # px on the garment, in a picture of 512×384


def through_jpeg(picture: np.ndarray) -> np.ndarray:
    """The picture after JPEG compression, as read from its file."""
    coded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    return np.ascontiguousarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[:, :, ::-1])


def matched(rendering: Rendering, preset: Preset, joint: bool, category: str = "upper_body") -> list[RegionMatches]:
    """The matches of each region, found as preprocessing finds them in the written files."""
    areas = regions_in_frame(
        (rendering.photo.shape[0], rendering.photo.shape[1]),
        densepose=through_jpeg(rendering.densepose),
        agnostic_mask=rendering.agnostic_mask.astype(np.uint8) * 255,
        parsing=rendering.garment_parsing,
        category=category,
    )
    return match_regions(through_jpeg(rendering.photo), through_jpeg(rendering.garment), areas, preset, joint)


def is_right(rendering: Rendering, person: np.ndarray, garment: np.ndarray) -> np.ndarray:
    """Whether the exact map agrees with matches of person and garment points (N, 2), in px; (N,) bool."""
    column, row = np.rint(person).astype(int).T
    exact = rendering.person_to_garment[row, column]
    tolerance = TOLERANCE * len(rendering.photo) / FRAME[0]
    return np.linalg.norm(exact - garment, axis=1) <= tolerance  # False for NaN, where no garment is visible


def stage_counts(rendering: Rendering, found: Sequence[RegionMatches], preset: Preset) -> np.ndarray:
    """The matches after each stage and the right ones among them, over all regions; (stages, 2).

    If a stage did not run for a region, its matches stay the same.
    """
    counts = np.zeros((len(preset.stages), 2), int)
    for each in found:
        right = is_right(rendering, each.matches.person.xy, each.matches.garment.xy)
        left = each.survivors["ratio"]
        for row, stage in enumerate(preset.stages):
            left = each.survivors.get(stage, left)
            counts[row] += len(left), right[left].sum()
    return counts


def interval(counts: np.ndarray) -> tuple[float, float]:
    """The 95 % bootstrap interval, over pairs, of the share of right matches; ``counts`` is (pairs, 2)."""
    drawn = numpy_generator(SEED, "bootstrap").integers(0, len(counts), (2000, len(counts)))
    left, right = counts[drawn].sum(1).T
    low, high = np.percentile(right / np.maximum(left, 1), (2.5, 97.5))
    return float(low), float(high)


def table(counts: np.ndarray, preset: Preset) -> list[str]:
    """A Markdown table with one row for each stage; ``counts`` is (pairs, stages, 2)."""
    total = counts.sum(0)
    rows = ["| stage | matches | share of the ratio test | right | 95 % interval |", "|---|---|---|---|---|"]
    for index, stage in enumerate(preset.stages):
        left, right = total[index]
        low, high = interval(counts[:, index])
        rows.append(
            f"| {stage} | {left} | {left / total[0, 0]:.1%} | {right / max(left, 1):.1%} | {low:.1%} – {high:.1%} |"
        )
    return rows


def per_print(counts: np.ndarray, kinds: Sequence[str]) -> list[str]:
    """A Markdown table with one row for each kind of print; ``kinds`` are those of the pairs."""
    rows = [
        "| print | pairs | with a match | matches per pair | right after the ratio test | right at the end |",
        "|---|---|---|---|---|---|",
    ]
    for kind in (*PRINTS, "all"):
        of_kind = counts if kind == "all" else counts[np.array(kinds) == kind]
        first, last = of_kind[:, 0].sum(0), of_kind[:, -1].sum(0)
        with_any, mean = (of_kind[:, -1, 0] > 0).mean(), of_kind[:, -1, 0].mean()
        rows.append(
            f"| {kind} | {len(of_kind)} | {with_any:.0%} | {mean:.1f} | {first[1] / max(first[0], 1):.1%} "
            f"| {last[1] / max(last[0], 1):.1%} |"
        )
    return rows


def main(pairs: int) -> None:
    kinds, rendering_time = [], 0.0
    counts: dict[tuple[str, str], list[np.ndarray]] = {(name, regions): [] for name in PRESETS for regions in REGIONS}
    for index in tqdm(range(pairs), unit="pair"):
        person, garment = sample_person(SEED, SPLIT, index), sample_garment(SEED, SPLIT, index)
        start = time.perf_counter()
        rendering = render(person, garment, *FRAME)
        rendering_time += time.perf_counter() - start
        kinds.append(garment.print)
        for (name, regions), of_pairs in counts.items():
            preset = PRESETS[name]
            of_pairs.append(stage_counts(rendering, matched(rendering, preset, regions == "joint"), preset))
    print(
        f"{pairs} pairs at {FRAME[0]} × {FRAME[1]}; one core renders {pairs / rendering_time:.1f} pairs per second.\n"
    )
    for (name, regions), found in counts.items():
        tables = *table(np.stack(found), PRESETS[name]), "", *per_print(np.stack(found), kinds)
        print(f"### {name}, regions {regions}\n", *tables, "", sep="\n")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
