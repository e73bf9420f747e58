"""A wrong length shows in the lowest fifth of the garment, and nowhere else."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from toy_colour import PARTS, main, parts_of

from siftvton.commands.evaluate_toy import EvaluateToy
from siftvton.data.config import HeldOutData
from siftvton.files import write_image
from siftvton.toy.measures import Case, ground_truth_of
from siftvton.toy.world.write import write_world
from siftvton.toy.worlds import world_of


def test_the_fifths_of_a_worn_area_have_about_equal_size_and_cover_it_once():
    worn = np.zeros((100, 40), bool)
    worn[20:80, 10:30] = True
    *fifths, upper, whole = parts_of(worn)
    assert len(fifths) + 2 == len(PARTS)
    assert np.array_equal(sum(part.astype(int) for part in fifths), worn)
    assert [part.sum() for part in fifths] == pytest.approx([worn.sum() / 5] * 5, rel=0.1)
    assert np.array_equal(upper, fifths[0] | fifths[1] | fifths[2])
    assert np.array_equal(whole, worn)


def test_a_garment_that_ends_too_high_is_wrong_in_its_lowest_fifth(tmp_path: Path):
    root, results = tmp_path / "world", tmp_path / "results"
    write_world(root, train_pairs=1, test_pairs=3, height=256, width=192, workers=1)
    data = HeldOutData(root=str(root), height=128, width=96)
    split = data.open().split("test")
    world = world_of(split)
    for pair in split.pairs("unpaired"):
        known = ground_truth_of(Case(world, split, pair, (), results, data.size))
        short = known.truth.copy()
        short[parts_of(known.worn)[4]] = (255, 0, 255)
        write_image(results / f"{pair.result_id}.png", short)
    *table, _, last = main(EvaluateToy(data=data, predictions=str(results), output=str(tmp_path / "out"))).split("\n")
    right = {cells[0]: cells[1] for cells in ([c.strip() for c in row.split("|")[1:-1]] for row in table)}
    assert last == "3 of 3 garments have a wrong mean colour; of these, 3 are right in the upper three fifths"
    assert right["lowest fifth"] == "0.0%"
    assert {right[name] for name in PARTS if name not in ("lowest fifth", "whole garment")} == {"100.0%"}
