"""The verdict on each measure and on all; the shipped figures and tolerances."""

from pathlib import Path
from typing import Any

import pytest

from siftvton.cli import load
from siftvton.evaluation.report import PUBLISHED
from siftvton.reproduction import environment
from siftvton.reproduction.config import Figures, Reproduce, Target, Tolerances
from siftvton.reproduction.judgement import (
    BETTER,
    STAND_IN,
    TRIAL,
    UNMEASURED,
    UNPUBLISHED,
    WITHIN,
    WORSE,
    judge,
    overall,
    require_reasons,
)

CONFIGS = Path(__file__).parents[2] / "configs"
MEASURES = ("ssim", "lpips", "fid", "kid")


def report(measure: str, score: float | None, pictures: int = 10, published: bool | None = True) -> dict[str, Any]:
    weights = {"file": "network.pt", "published": published}
    scores = {} if score is None else {measure: score}
    return {
        "protocol": {"setting": "unpaired"},
        "metrics": {measure: {"weights": weights, "not_run": "no file" if score is None else None}},
        "results": {"ours": {"pictures": pictures, "scores": scores, "intervals": {}}},
    }


def target(**figures: float) -> Target:
    return Target(published=Figures(**figures), tolerance=Tolerances(**dict.fromkeys(figures, 0.2)))


@pytest.mark.parametrize(
    ("measure", "ours", "verdict"),
    [
        ("fid", 9.0, WITHIN),
        ("fid", 9.2, WITHIN),  # exactly the tolerance
        ("fid", 8.8, WITHIN),
        ("fid", 9.21, WORSE),
        ("fid", 8.79, BETTER),
        ("ssim", 8.79, WORSE),  # higher is better
        ("ssim", 9.21, BETTER),
        ("fid", None, UNMEASURED),
        ("kid", 9.0, UNPUBLISHED),
    ],
)
def test_a_score_is_judged_by_its_distance(measure: str, ours: float | None, verdict: str):
    figures = target(**({} if measure == "kid" else {measure: 9.0}))
    (row,) = judge(figures, {"metrics.json": report(measure, ours)}, "ours", pairs=10)
    assert row.verdict == verdict
    assert row.ours == ours


def test_fewer_pairs_than_published_are_a_trial_run():
    rows = judge(target(fid=9.0), {"metrics.json": report("fid", 9.0, pictures=9)}, "ours", pairs=10)
    assert rows[0].verdict == TRIAL
    assert overall(rows) == "no verdict: only 9 of 10 pairs were scored"


def test_another_network_than_the_published_one_gives_no_verdict():
    rows = judge(target(fid=9.0), {"metrics.json": report("fid", 9.0, published=False)}, "ours", pairs=10)
    assert rows[0].verdict == STAND_IN
    assert overall(rows) == "no verdict: FID (another network)"


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ({"ssim": 0.9, "fid": 9.0}, "reproduced: SSIM, FID within tolerance"),
        ({"ssim": 0.9, "fid": 9.0, "kid": 1.0}, "reproduced: SSIM, FID within tolerance"),
        ({"ssim": 0.1, "fid": 9.0}, "not reproduced: SSIM (outside, worse)"),
        ({"ssim": 0.1, "fid": 1.0}, "not reproduced: SSIM (outside, worse), FID (outside, better)"),
        ({"ssim": 0.1, "fid": None}, "not reproduced: SSIM (outside, worse); without verdict: FID (not measured)"),
        ({"ssim": 0.9, "fid": None}, "no verdict: FID (not measured)"),
    ],
)
def test_all_measures_together(scores: dict[str, float | None], verdict: str):
    reports = {measure: report(measure, score) for measure, score in scores.items()}
    assert overall(judge(target(ssim=0.9, fid=9.0), reports, "ours", pairs=10)) == verdict


def test_without_a_published_figure_there_is_no_verdict():
    assert (
        overall(judge(target(), {"metrics.json": report("fid", 9.0)}, "ours", pairs=10))
        == "no verdict: no figure is published"
    )


SHIPPED = sorted(path.name for path in CONFIGS.glob("reproduce*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_figure_has_a_tolerance_with_a_reason_and_a_source(name: str):
    config = load(Reproduce, CONFIGS / name)
    assert Path(config.settings).name == name
    for key in ("sift_vton", "stableviton", "trained"):
        require_reasons(getattr(config, key), key)
        assert getattr(config, key).row


@pytest.mark.parametrize(
    ("name", "key", "row"),
    [
        ("reproduce.yaml", "sift_vton", "SIFT-VTON, revised"),
        ("reproduce.yaml", "trained", "SIFT-VTON, revised"),
        ("reproduce.yaml", "stableviton", "StableVITON"),
        ("reproduce_first_version.yaml", "sift_vton", "SIFT-VTON, first version"),
    ],
)
def test_the_figures_are_those_that_evaluate_shows(name: str, key: str, row: str):
    published = getattr(load(Reproduce, CONFIGS / name), key).published
    for measure in MEASURES:
        digits = 3 if measure == "ssim" else 4  # the paper rounds the first version's SSIM
        assert getattr(published, measure) == pytest.approx(PUBLISHED[row][measure], abs=0.5 * 10**-digits)


def test_the_tolerances_of_released_weights_tell_the_three_rows_apart():
    revised = load(Reproduce, CONFIGS / "reproduce.yaml")
    first = load(Reproduce, CONFIGS / "reproduce_first_version.yaml")
    rows = [revised.sift_vton, first.sift_vton]
    for measure in MEASURES:
        distance = abs(getattr(rows[0].published, measure) - getattr(rows[1].published, measure))
        assert all(getattr(row.tolerance, measure) < distance for row in rows), measure
        assert getattr(revised.trained.tolerance, measure) == pytest.approx(distance, rel=0.02)


def test_the_commit_of_a_project_around_the_package_is_not_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert environment.commit() is None or len(environment.commit().partition(",")[0]) == 40
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert environment.commit() is None
