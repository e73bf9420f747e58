"""Which scores of earlier validations a run compares its next one with."""

from pathlib import Path

from siftvton.training import best, records
from siftvton.training.config import OptimisationConfig

SETTINGS = OptimisationConfig(validation_pictures=8, validation_steps=20)
SAME = {"pictures": 8, "steps": 20}


def test_a_score_of_the_same_kind_is_compared():
    assert best.comparable([{"unpaired": 3.0, **SAME}, {"unpaired": 2.0, **SAME}], SETTINGS) == [3.0, 2.0]


def test_scores_of_other_features_pictures_or_steps_are_not_compared():
    others = [{"unpaired": 1.0, "fid": 1.0, **SAME}, {"unpaired": 1.0, **SAME, "pictures": 9}]
    others += [{"unpaired": 1.0, **SAME, "steps": 50}, {"unpaired": None, **SAME}, SAME]
    assert best.comparable(others, SETTINGS) == []
    with_inception = OptimisationConfig(validation_pictures=8, validation_steps=20, inception="weights.pt")
    assert best.comparable(others, with_inception) == [1.0]


def test_the_lines_of_earlier_versions_count_as_the_same():
    assert best.comparable([{"unpaired": 3.0}], SETTINGS) == [3.0]


def test_the_log_states_what_a_score_depends_on(tmp_path: Path):
    records.append(tmp_path / "log", 5, {"unpaired": 3.0} | best.conditions(SETTINGS))
    assert records.cut(tmp_path / "log", 5) == [{"update": 5, "unpaired": 3.0, **SAME}]
