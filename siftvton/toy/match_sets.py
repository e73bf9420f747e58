"""The toy training pairs' matches, once more in other forms: exact, partly wrong, of fewer pairs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from siftvton.correspondence import Correspondences, Frame, read_matches, write_matches
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.data.match_folder import matches_path
from siftvton.draws import numpy_generator
from siftvton.toy.exact_maps import EXACT_MAP, exact_positions, read_map

FRAME: Frame = (512, 384)
EXACT_GRID = (32, 24)  # the middles of so many cells have an exact match, where they show the garment
WRONG = 0.1  # share of the matches that `wrong` leads elsewhere


def write_match_sets(root: str, published: Path, output: Path) -> None:
    """Folders of match files in ``output``, which ``data.matches`` may name: what is there stays.

    Args:
        root: the toy world, with its exact maps. published: the folder of the SIFT matches to start from.
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

    def share(part: float) -> Callable[[str], Correspondences]:
        def of_some(person: str) -> Correspondences:
            kept = numpy_generator(person, "share").random() < part
            return found[person] if kept else Correspondences.empty(FRAME)

        return of_some

    sets = {"exact": exact, "wrong": wrong, "half": share(0.5), "tenth": share(0.1)}
    for name, matches_of in sets.items():
        paths = {person: matches_path(output / name, f"{person}.jpg") for person in persons}
        missing = {person: path for person, path in paths.items() if not path.is_file()}
        for person, path in tqdm(missing.items(), desc=f"matches, {name}", unit="pair", disable=not missing):
            write_matches(path, matches_of(person))
