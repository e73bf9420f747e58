"""95 % confidence intervals of shares and means, computed by SciPy."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from siftvton.draws import numpy_generator

RESAMPLES = 2000


def wilson(hits: int, cases: int) -> tuple[float, float]:
    """95 % interval of a share by Wilson's score method (1927), which never leaves [0, 1]."""
    interval = stats.binomtest(hits, cases).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean by the percentile bootstrap (Efron 1979)."""
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        return float("nan"), float("nan")
    if len(array) == 1:  # every resample is the same, and SciPy refuses a single value
        return float(array[0]), float(array[0])
    interval = stats.bootstrap(
        (array,),
        np.mean,
        n_resamples=RESAMPLES,
        method="percentile",
        random_state=numpy_generator(seed, len(array), "bootstrap"),
    ).confidence_interval
    return float(interval.low), float(interval.high)
