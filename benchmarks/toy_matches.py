"""SIFT on the toy world: how many matches each stage keeps and how many of them are right, by preset and search.

python benchmarks/toy_matches.py          200 pairs, about two minutes on one core
python benchmarks/toy_matches.py 300      300 pairs

Pairs are rendered at 512×384 and compressed as JPEG, like the files of the toy world. A match is right if the exact map
takes the person's point to within 4 px of the garment's point. It prints tables in Markdown and writes no files.
"""

import time
from collections.abc import Sequence

import cv2
import numpy as np
from arguments import count, parser_of, start
from toy_truth import TOLERANCE, distances, interval_text, share_text
from tqdm import tqdm

from siftvton.correspondence.filters import PRESETS, Preset
from siftvton.correspondence.matching import RegionMatches, match_regions, regions_in_frame
from siftvton.tables import markdown_table
from siftvton.toy.world.garments import PRINTS, sample_garment
from siftvton.toy.world.persons import sample_person
from siftvton.toy.world.render import Rendering, render

SEED, SPLIT = 0, "train"
FRAME = (512, 384)
REGIONS = ("separate", "joint")


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
    tolerance = TOLERANCE * len(rendering.photo) / FRAME[0]
    return distances(rendering.person_to_garment, person, garment) <= tolerance  # False for NaN: no garment is visible


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


def table(counts: np.ndarray, preset: Preset) -> list[str]:
    """A Markdown table with one row for each stage; ``counts`` is (pairs, stages, 2)."""
    total = counts.sum(0)
    rows = []
    for index, stage in enumerate(preset.stages):
        left, right = total[index]
        shares = share_text(left, total[0, 0]), share_text(right, left)
        rows.append([stage, str(left), *shares, interval_text(counts[:, index], SEED, "bootstrap")])
    return markdown_table(["stage", "matches", "share of the ratio test", "right", "95 % interval"], rows)


def per_print(counts: np.ndarray, kinds: Sequence[str]) -> list[str]:
    """A Markdown table with one row for each kind of print that the pairs have; ``kinds`` are those of the pairs."""
    titles = ["print", "pairs", "with a match", "matches per pair", "right after the ratio test", "right at the end"]
    rows = [
        [kind, *pair_cells(counts if kind == "all" else counts[np.array(kinds) == kind])]
        for kind in (*PRINTS, "all")
        if kind in (*kinds, "all")
    ]
    return markdown_table(titles, rows)


def pair_cells(counts: np.ndarray) -> list[str]:
    """The number of pairs, the share with a match, matches per pair, and the shares that are right at both ends.

    Args:
        counts: (pairs, stages, 2), at least one pair.
    """
    first, last = counts[:, 0].sum(0), counts[:, -1].sum(0)
    with_any, mean = (counts[:, -1, 0] > 0).mean(), counts[:, -1, 0].mean()
    right = share_text(first[1], first[0]), share_text(last[1], last[0])
    return [str(len(counts)), f"{with_any:.0%}", f"{mean:.1f}", *right]


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
    parser = parser_of(__doc__)
    parser.add_argument("pairs", type=count, nargs="?", default=200, help="number of pairs; default: 200")
    start(main, parser)
