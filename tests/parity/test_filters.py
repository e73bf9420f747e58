"""After every stage, the filters keep the same matches as the published code (golden ``filters.json``)."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from siftvton.correspondence.filters import PRESETS, survivors
from siftvton.correspondence.key_points import KeyPointMatches, KeyPoints

WIDTH = 384  # width of the pictures that the golden matches come from


def key_points(rows: list[list[float]]) -> KeyPoints:
    table = np.array(rows, np.float64).reshape(-1, 7)
    return KeyPoints(
        table[:, :2].astype(np.float32),
        table[:, 2].astype(np.float32),
        table[:, 3].astype(np.float32),
        table[:, 4:].astype(np.uint8),
    )


def test_filters_keep_the_published_matches_at_every_stage(golden: Callable[[str], Path]) -> None:
    cases = json.loads(golden("filters.json").read_text())["cases"]
    assert cases
    for case in cases:
        matches = KeyPointMatches(
            key_points(case["person"]), key_points(case["garment"]), np.array(case["distance"], np.float32)
        )
        ours = {name: left.tolist() for name, left in survivors(matches, WIDTH, PRESETS["published"]).items()}
        theirs = dict(case["survivors"])
        assert len(ours.pop("ratio")) == theirs.pop("input"), case["name"]
        result = ours.pop("minimum")
        if "homography_ransac_runs" in theirs:
            runs = [set(run) for run in theirs.pop("homography_ransac_runs")]
            inliers = set(ours.pop("homography"))
            assert set.intersection(*runs) <= inliers <= set.union(*runs), case["name"]
            assert set(result) == (inliers if len(inliers) >= 2 else set()), case["name"]
        else:
            assert result == theirs.pop("final"), case["name"]
        assert {name: ours[name] for name in theirs} == theirs, case["name"]
