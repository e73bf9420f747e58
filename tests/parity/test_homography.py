"""RANSAC keeps the inliers of a published run, and so of all runs if these agree (golden ``homography.json``)."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from siftvton.correspondence.filters import homography


def test_the_inliers_are_those_of_a_published_run(golden: Callable[[str], Path]) -> None:
    agreed = 0
    for number, case in enumerate(json.loads(golden("homography.json").read_text())):
        ours = np.flatnonzero(homography(np.array(case["person"]), np.array(case["garment"]))).tolist()
        runs = case["published_runs"]
        assert ours in runs, f"case {number}"
        agreed += all(run == runs[0] for run in runs)
    assert agreed == 23
