"""Variants of the toy training pairs' matches: exact, partly wrong, or for fewer pairs."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from siftvton.correspondence import Correspondences, Frame, read_matches, write_matches
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.match_folder import matches_path
from siftvton.draws import numpy_generator
from siftvton.toy.exact_maps import exact_positions, read_map
from siftvton.toy.world.write import EXACT_MAP

FRAME: Frame = (512, 384)
EXACT_GRID = (32, 24)  # rows and columns of cells; the middle of each gets an exact match if it shows the garment
WRONG = 0.1  # share of the matches that the set `wrong` moves to a wrong place
TENTH = 0.1  # share of the pairs that keep their matches in the set `tenth`


def write_match_sets(root: str, published: Path, output: Path) -> None:
    """Write one folder of match files for each variant; files that exist are kept.

    Args:
        root: the toy world, with its exact maps.
        published: the folder of SIFT matches to start from.
        output: where the folders ``exact``, ``wrong`` and ``tenth`` go; ``data.matches`` may name each.
    """
    split = VitonHD(root).split("train")
    persons = [pair.person_id for pair in split.matched_pairs()]
    found = {person: read_matches(matches_path(published, f"{person}.jpg"), FRAME) for person in persons}
    elsewhere = np.concatenate([matches.garment for matches in found.values()])

    def exact(person: str) -> Correspondences:
        return exact_positions(read_map(split.folder / EXACT_MAP / f"{person}.npz"), EXACT_GRID)

    def wrong(person: str) -> Correspondences:
        draw = numpy_generator(person, "wrong")
        garment = found[person].garment.copy()
        misled = draw.random(len(garment)) < WRONG
        garment[misled] = elsewhere[draw.integers(len(elsewhere), size=misled.sum())]
        return Correspondences(found[person].person, garment, FRAME)

    def tenth(person: str) -> Correspondences:
        kept = numpy_generator(person, "share").random() < TENTH
        return found[person] if kept else Correspondences.empty(FRAME)

    sets = {"exact": exact, "wrong": wrong, "tenth": tenth}
    for name, matches_of in sets.items():
        paths = {person: matches_path(output / name, f"{person}.jpg") for person in persons}
        missing = {person: path for person, path in paths.items() if not path.is_file()}
        for person, path in tqdm(missing.items(), desc=f"matches, {name}", unit="pair", disable=not missing):
            write_matches(path, matches_of(person))
