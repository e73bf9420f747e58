"""SIFT on the toy world's whole persons: matches and right ones by category and preset, and how legs suit the filters.

python benchmarks/toy_dresscode_matches.py                 300 pairs of 512×384 in about two minutes on one core
python benchmarks/toy_dresscode_matches.py 300 1024        300 pairs of 1024×768

Each category has a third of the pairs. A match is right if the exact map takes the person's point to within 4 px, of a
picture of 512×384, of the garment's point. It prints tables in Markdown and writes no files.
"""

from collections import defaultdict

import cv2
import numpy as np
from arguments import count, parser_of, start
from toy_matches import SEED, SPLIT, is_right, matched, pair_cells, stage_counts
from toy_truth import interval_text, share_text
from tqdm import tqdm

from siftvton.correspondence.filters import PRESETS
from siftvton.correspondence.regions import BODY_PARTS
from siftvton.data.layouts import CATEGORIES
from siftvton.tables import markdown_table
from siftvton.toy.world.outfits import category_at, dressed, sample_clothing
from siftvton.toy.world.render import Rendering
from siftvton.toy.world.whole import render_whole

ANGLE, SCALE = 45.0, 2.25  # limits of the filters `angle` (degrees) and `scale`
STEP = 4  # px between the places at which the exact map's rotation and scale are measured


def local_change(rendering: Rendering, region: str) -> np.ndarray:
    """Rotation (degrees) and size, relative to the flat garment, of the worn garment on a region: (N, 2)."""
    exact = rendering.person_to_garment
    here = exact[STEP:-STEP:STEP, STEP:-STEP:STEP]
    across = exact[STEP:-STEP:STEP, 2 * STEP :: STEP] - here
    down = exact[2 * STEP :: STEP, STEP:-STEP:STEP] - here
    on = np.isin(rendering.densepose_labels, BODY_PARTS[region])[STEP:-STEP:STEP, STEP:-STEP:STEP]
    known = on & np.isfinite(across).all(-1) & np.isfinite(down).all(-1)
    (a, c), (b, d) = np.moveaxis(across[known], -1, 0), np.moveaxis(down[known], -1, 0)
    area = np.abs(a * d - b * c) / STEP**2
    return np.stack((np.degrees(np.arctan2(c - b, a + d)), 1 / np.sqrt(np.maximum(area, 1e-6))), -1)


def region_row(name: str, found: np.ndarray) -> list[str]:
    """One row of the table of a preset's regions.

    Args:
        name: the region.
        found: (6,) right matches after the ratio test, `angle`, `scale` and the last stage; then all matches after the
            ratio test and after the last stage.
    """
    before, angle, scale, last, everything, left = found
    dropped = [share_text(earlier - later, earlier) for earlier, later in ((before, angle), (angle, scale))]
    return [name, str(everything), share_text(before, everything), *dropped, str(left), share_text(last, left)]


def map_row(name: str, change: np.ndarray) -> list[str]:
    """One row of the table of exact maps; ``change`` is (N, 2) as :func:`local_change` returns."""
    turned, size = np.abs(change[:, 0]), change[:, 1]
    unequal = (size > SCALE) | (size < 1 / SCALE)
    spread = [f"{np.median(turned):.0f}°", f"{np.percentile(turned, 95):.0f}°", f"{(turned >= ANGLE).mean():.1%}"]
    return [name, *spread, f"{np.median(size):.2f}", f"{unequal.mean():.1%}"]


def main(pairs: int, height: int) -> None:
    size = (height, height * 3 // 4)
    counts: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    regions: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(6, int))
    changes: dict[str, list[np.ndarray]] = defaultdict(list)
    for index in tqdm(range(pairs), unit="pair"):
        person, outfit = dressed(SEED, SPLIT, index, sample_clothing(SEED, SPLIT, index))
        rendering = render_whole(person, outfit, *size)
        for name, preset in PRESETS.items():
            found = matched(rendering, preset, joint=False, category=category_at(index))
            counts[name, category_at(index)].append(stage_counts(rendering, found, preset))
            for each in found:
                right = is_right(rendering, each.matches.person.xy, each.matches.garment.xy)
                angle, sizes = (each.survivors[stage] for stage in ("angle", "scale"))
                last = each.survivors["minimum"]
                of_region = (right.sum(), right[angle].sum(), right[sizes].sum(), right[last].sum())
                regions[name, each.region] += np.array((*of_region, len(right), len(last)))
        for region in BODY_PARTS:
            changes[region].append(local_change(rendering, region))
    print(f"{pairs} pairs at {size[0]}×{size[1]}\n")
    titles = ["category", "pairs", "with a match", "matches per pair", "right after the ratio test", "right at the end",
              "95 % interval"]  # fmt: skip
    for name in PRESETS:
        of_category = {category: np.stack(counts[name, category]) for category in CATEGORIES}
        rows = [
            [category, *pair_cells(each), interval_text(each[:, -1], SEED, "bootstrap")]
            for category, each in of_category.items()
        ]
        print(f"### {name}\n", *markdown_table(titles, rows), "", sep="\n")
    titles = ["region", "matches of the ratio test", "right", "right ones that `angle` drops", "that `scale` drops",
              "matches at the end", "right"]  # fmt: skip
    for name in PRESETS:
        rows = [region_row(region, regions[name, region]) for region in BODY_PARTS]
        print(f"### {name}, by region\n", *markdown_table(titles, rows), "", sep="\n")
    titles = ["region", "rotation, median", "95th percentile", f"{ANGLE:.0f}° or more", "size, median",
              f"beyond a factor of {SCALE}"]  # fmt: skip
    rows = [map_row(region, np.concatenate(changes[region])) for region in BODY_PARTS]
    print("### The exact maps\n", *markdown_table(titles, rows), sep="\n")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    parser = parser_of(__doc__)
    parser.add_argument("pairs", type=count, nargs="?", default=300, help="number of pairs; default: 300")
    parser.add_argument("height", type=count, nargs="?", default=512, help="height of a picture in px; default: 512")
    start(main, parser)
