"""Confidence intervals."""

import numpy as np
import pytest

from siftvton.evaluation.intervals import bootstrap, wilson


def test_wilson_gives_the_published_example():
    # Agresti and Coull (1998): 0 of 10 and 5 of 10 at 95 %
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(10, 10)[1] == 1


def test_the_bootstrap_interval_is_as_wide_as_the_normal_interval_of_the_mean():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = bootstrap(values.tolist())
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap([3.0, 3.0]) == (3, 3)
