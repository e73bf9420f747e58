"""Matchers on the toy world, after the published filters: what they find, how much is right, and what it costs.

python scripts/make_toy_data.py train_pairs=100 exact_map=true     a world with exact maps
python benchmarks/matchers.py data/toy 42                          42 training pairs, the same number for each print

A pair takes about three seconds on one core. It prints a table in Markdown and writes no files. A match is right if the
exact map takes the person's point to within 4 px of the garment's point. Coverage is the share of the garment's cells
in the photo, of 16 × 16 px, that hold a right match.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from arguments import count, parser_of, start
from toy_truth import TOLERANCE, distances, interval_text, share_text
from tqdm import tqdm

from siftvton.correspondence.asift import Asift, root
from siftvton.correspondence.filters import PRESETS
from siftvton.correspondence.key_points import KeyPointMatches, KeyPoints
from siftvton.correspondence.matchers import Matcher
from siftvton.correspondence.matching import match_regions, regions_in_frame
from siftvton.correspondence.regions import Region
from siftvton.correspondence.sift import Detected, Sift, detect, match_detected, match_painted
from siftvton.data.layouts import layout_of
from siftvton.data.layouts.base import AGNOSTIC_MASK, DENSEPOSE, GARMENT, GARMENT_PARSING, IMAGE, Split
from siftvton.data.pairs import Pair
from siftvton.data.sides import read_densepose
from siftvton.errors import InputError
from siftvton.files import read_grey, read_image, read_labels
from siftvton.tables import markdown_table
from siftvton.toy.exact_maps import read_map
from siftvton.toy.world.garments import PRINTS
from siftvton.toy.world.write import EXACT_MAP
from siftvton.toy.worlds import number_of, world_of

NEAR = 16.0  # px on the garment
CELL = 16  # px
LOW_CONTRAST = 0.01  # SIFT's contrast threshold; OpenCV's default is 0.04
Found = tuple[int, int, int, float, float]  # kept matches, right ones, within 16 px, coverage, seconds


class Painted:
    """SIFT's search with another detector."""

    def __init__(self, detector: Callable[[np.ndarray], Detected]) -> None:
        self._detector = detector

    def match(self, person: np.ndarray, garment: np.ndarray, areas: Sequence[Region]) -> list[KeyPointMatches]:
        return match_painted(person, garment, areas, self._detector, match_detected)


class Outline:
    """Match by shape alone: a point keeps its height between the region's ends and its place between the two edges."""

    def match(self, person: np.ndarray, garment: np.ndarray, areas: Sequence[Region]) -> list[KeyPointMatches]:
        return [self._match(person, garment, area) for area in areas]

    def _match(self, person: np.ndarray, garment: np.ndarray, area: Region) -> KeyPointMatches:
        y, x = np.mgrid[4 : person.shape[0] : 8, 4 : person.shape[1] : 8].reshape(2, -1)
        inside = area.person[y, x] & area.garment.any()
        y, x = y[inside], x[inside]
        if len(y):
            (top, bottom, left, right), (top_g, bottom_g, left_g, right_g) = map(edges, (area.person, area.garment))
            there = np.rint(np.interp(y, (top, bottom), (top_g, bottom_g))).astype(int)
            share = (x - left[y]) / np.maximum(right[y] - left[y], 1)
            x_g, y_g = left_g[there] + share * (right_g[there] - left_g[there]), there
        else:
            x_g, y_g = x, y
        on_person, on_garment = (
            KeyPoints.at(np.stack(xy, axis=1), picture) for xy, picture in (((x, y), person), ((x_g, y_g), garment))
        )
        return KeyPointMatches(on_person, on_garment, np.zeros(len(x)))


def edges(area: np.ndarray) -> tuple[int, int, np.ndarray, np.ndarray]:
    """The first and the last row of an area (height, width), and the edges of each row; gaps repeat the row above."""
    rows = np.flatnonzero(area.any(axis=1))
    row = rows[np.maximum(np.searchsorted(rows, np.arange(len(area)), side="right") - 1, 0)]
    return int(rows[0]), int(rows[-1]), area[row].argmax(axis=1), area.shape[1] - 1 - area[row, ::-1].argmax(axis=1)


def rootsift(picture: np.ndarray) -> Detected:
    points, descriptors = detect(picture)
    return points, root(descriptors)


def low_contrast(picture: np.ndarray) -> Detected:
    points, descriptors = cv2.SIFT.create(contrastThreshold=LOW_CONTRAST).detectAndCompute(picture, None)
    measured = (np.array([getattr(each, name) for each in points], np.float32) for name in ("size", "angle"))
    xy = np.array([each.pt for each in points], np.float32).reshape(-1, 2)
    return KeyPoints.at(xy, picture, *measured), np.zeros((0, 128), np.float32) if descriptors is None else descriptors


CANDIDATES: dict[str, Matcher] = {
    "sift": Sift(),
    "RootSIFT": Painted(rootsift),
    f"SIFT, contrast {LOW_CONTRAST}": Painted(low_contrast),
    "asift": Asift(),
    "outline": Outline(),
}


def pairs_of_each_print(split: Split, number: int) -> list[tuple[str, Pair]]:
    """A print and a training pair whose garment has it, for the first pairs of each print, in turn.

    Raises:
        InputError: the world has too few pairs.
    """
    world = world_of(split)
    of_print: dict[str, list[Pair]] = {kind: [] for kind in PRINTS}
    for pair in split.matched_pairs():
        of_print[world.garment(number_of(pair.garment_id)).print].append(pair)
    for place, kind in enumerate(PRINTS):
        needed = (number - place + len(PRINTS) - 1) // len(PRINTS)
        if len(of_print[kind]) < needed:
            raise InputError(
                f"{world.note}: the world has {len(of_print[kind])} training pairs with the print {kind}, but {needed} "
                "are needed; use fewer pairs, or make a larger world"
            )
    kinds = [PRINTS[index % len(PRINTS)] for index in range(number)]
    return [(kind, of_print[kind][index // len(PRINTS)]) for index, kind in enumerate(kinds)]


def measure(split: Split, pair: Pair) -> dict[str, Found]:
    """What each candidate finds in one pair."""
    exact = read_map(split.folder / EXACT_MAP / f"{pair.person_id}.npz")
    person, garment = read_image(split.require(IMAGE, pair.person)), read_image(split.require(GARMENT, pair.garment))
    areas = regions_in_frame(
        person.shape[:2],
        densepose=read_densepose(split.require(DENSEPOSE, pair.person)),
        agnostic_mask=read_grey(split.require(AGNOSTIC_MASK, pair.person)),
        parsing=read_labels(split.require(GARMENT_PARSING, pair.garment)),
    )
    results = {}
    for title, matcher in CANDIDATES.items():
        start = time.process_time()
        kept = [each.kept for each in match_regions(person, garment, areas, PRESETS["published"], matcher=matcher)]
        seconds = time.process_time() - start
        xy, there = (np.concatenate([getattr(each, side).xy for each in kept]) for side in ("person", "garment"))
        error = distances(exact, xy, there)
        right, near = error <= TOLERANCE, error <= NEAR
        covered = coverage(exact, xy[right])
        results[title] = len(xy), int(right.sum()), int(near.sum()), covered, seconds
    return results


def coverage(exact: np.ndarray, person: np.ndarray) -> float:
    """The share of the cells that show mostly garment in which one of the person's points (N, 2) is, px."""
    height, width = (size // CELL for size in exact.shape[:2])
    shown = np.isfinite(exact[: height * CELL, : width * CELL]).all(axis=2)
    cells = shown.reshape(height, CELL, width, CELL).mean(axis=(1, 3)) > 0.5
    hit = np.zeros_like(cells)
    column, row = np.rint(person).astype(int).T
    hit[np.minimum(row // CELL, height - 1), np.minimum(column // CELL, width - 1)] = True
    return float((hit & cells).sum() / cells.sum())


def table(results: Sequence[tuple[str, dict[str, Found]]]) -> list[str]:
    """A Markdown table with one row for each print and candidate."""
    titles = ["print", "matcher", "pairs", "matches per pair", "right", "95 % interval", "within 16 px", "coverage"]
    rows = []
    for kind in ("all", *PRINTS):
        for title in CANDIDATES:
            found = np.array([each[title] for print_, each in results if kind in ("all", print_)])
            kept, right, near, covered, seconds = found.mean(axis=0)
            interval = interval_text(found[:, :2], "bootstrap", len(found))
            shares = [share_text(right, kept), interval, share_text(near, kept)]
            with_any = f"{(found[:, 0] > 0).mean():.0%}"
            numbers = [str(len(found)), f"{kept:.1f}", *shares, f"{covered:.1%}", with_any, f"{seconds:.2f}"]
            rows.append([kind, title, *numbers])
    return markdown_table([*titles, "pairs with a match", "seconds per pair"], rows, text_columns=2)


def main(root: Path, pairs: int) -> None:
    split = layout_of("auto", root).split("train")
    results = [(kind, measure(split, pair)) for kind, pair in tqdm(pairs_of_each_print(split, pairs), unit="pair")]
    print(*table(results), sep="\n")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    parser = parser_of(__doc__)
    parser.add_argument("root", type=Path, help="folder of the toy world")
    parser.add_argument("pairs", type=count, nargs="?", default=60, help="number of training pairs; default: 60")
    start(main, parser)
