"""The variants of the toy world's matches."""

from pathlib import Path

import numpy as np
import pytest

from siftvton.correspondence import Correspondences, read_matches, write_matches
from siftvton.data.match_folder import matches_path
from siftvton.toy.match_sets import FRAME, write_match_sets
from siftvton.toy.world.write import write_world

PERSONS = [f"{index:05d}_00.jpg" for index in range(3)]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_world(root, train_pairs=3, test_pairs=2, height=512, width=384, exact_map=True, workers=1)
    draw = np.random.default_rng(0)
    for person in PERSONS:
        points = 100 + 100 * draw.random((2, 200, 2))
        write_matches(matches_path(root / "sift", person), Correspondences(*points, frame=FRAME))
    write_match_sets(str(root), root / "sift", root / "sets")
    return root


def of(root: Path, name: str) -> list[Correspondences]:
    return [read_matches(matches_path(root / name, person), FRAME) for person in PERSONS]


def test_exact_matches_equal_the_map(sets: Path) -> None:
    for person, matches in zip(PERSONS, of(sets, "sets/exact"), strict=True):
        with np.load(sets / "train" / "exact_map" / f"{Path(person).stem}.npz") as content:
            exact = content["person_to_garment"]
        column, row = matches.person.astype(int).T
        np.testing.assert_array_equal(matches.garment, exact[row, column])
        assert len(matches) > 50


def test_a_tenth_of_the_wrong_set_is_moved_elsewhere(sets: Path) -> None:
    for right, wrong in zip(of(sets, "sift"), of(sets, "sets/wrong"), strict=True):
        np.testing.assert_array_equal(wrong.person, right.person)
        assert 0.03 < (wrong.garment != right.garment).any(axis=1).mean() < 0.2


def test_a_tenth_of_the_pairs_keeps_all_matches(sets: Path) -> None:
    """Each person has a draw of their own: 0.42, 0.73 and 0.05 here."""
    last = len(of(sets, "sift")[-1])
    assert last > 0
    assert [len(matches) for matches in of(sets, "sets/tenth")] == [0, 0, last]


def test_existing_files_are_kept(sets: Path) -> None:
    path = matches_path(sets / "sets/exact", PERSONS[0])
    before = path.stat().st_mtime_ns
    write_match_sets(str(sets), sets / "sift", sets / "sets")
    assert path.stat().st_mtime_ns == before
