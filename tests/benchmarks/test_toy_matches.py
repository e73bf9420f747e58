"""The benchmarks of toy matches: what counts as right, the interval of its share, and wrong arguments."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import matchers
import toy_matches
from arguments import count, parser_of, start
from toy_truth import distances, interval_text, share_text

from siftvton.correspondence.filters import PRESETS
from siftvton.data.layouts import layout_of
from siftvton.errors import InputError
from siftvton.toy.world.write import write_world


def test_a_match_is_as_far_off_as_the_exact_map_says():
    exact = np.full((4, 5, 2), np.nan)
    exact[1, 3] = 30.0, 40.0
    found = distances(exact, np.array([[3.4, 0.6], [3.0, 1.0], [0.0, 0.0]]), np.array([[33.0, 44.0], [30, 40], [1, 1]]))
    np.testing.assert_array_equal(found, [5, 0, np.nan])


def test_resamples_without_a_match_do_not_count():
    assert interval_text(np.array([[0, 0], [0, 0], [8, 8]]), 0) == "100.0% – 100.0%"
    low, high = (float(end.rstrip("%")) for end in interval_text(np.array([[10, 9], [10, 7]] * 20), 0).split(" – "))
    assert 70 < low < 80 < high < 90
    assert interval_text(np.zeros((3, 2), int), 0) == share_text(0, 0) == "–"


def test_tables_have_the_prints_of_the_pairs_alone():
    counts = np.zeros((2, len(PRESETS["paper"].stages), 2), int)
    counts[0] = 4, 3
    rows = toy_matches.per_print(counts, ["text", "plain"])[2:]
    assert rows == [
        "| plain | 1 | 0% | 0.0 | – | – |",
        "| text | 1 | 100% | 4.0 | 75.0% | 75.0% |",
        "| all | 2 | 50% | 2.0 | 75.0% | 75.0% |",
    ]


@pytest.mark.parametrize("given", ["0", "-3", "many", "1.5"])
def test_a_number_below_one_is_refused_in_one_line(given: str, monkeypatch, capsys: pytest.CaptureFixture):
    parser = parser_of("A benchmark.")
    parser.add_argument("pairs", type=count)
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--", given])
    with pytest.raises(SystemExit, match="2"):
        start(lambda pairs: None, parser)
    assert f"{given!r} is not allowed; use a whole number of 1 or more" in capsys.readouterr().err.splitlines()[-1]


def test_a_world_that_is_too_small_for_the_matchers_is_refused(tmp_path: Path):
    write_world(tmp_path, train_pairs=2, test_pairs=2, height=64, width=48, workers=1)
    split = layout_of("auto", tmp_path).split("train")
    with pytest.raises(InputError, match=r"world\.json: the world has . training pairs with the print .* needed; use"):
        matchers.pairs_of_each_print(split, 60)
