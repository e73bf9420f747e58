"""Confidence intervals of shares and of means."""

from collections.abc import Sequence

import numpy as np

from siftvton.draws import numpy_generator

Z = 1.96  # standard deviations on either side of the mean that hold 95 % of a normal distribution
RESAMPLES = 2000


def wilson(hits: int, cases: int) -> tuple[float, float]:
    """95 % interval of a share by Wilson's score (1927), which stays inside 0…1 at any share."""
    assert 0 <= hits <= cases > 0
    share, spread = hits / cases, Z**2 / cases
    middle = (share + spread / 2) / (1 + spread)
    reach = Z / (1 + spread) * np.sqrt(share * (1 - share) / cases + spread / (4 * cases))
    return max(0.0, float(middle - reach)), min(1.0, float(middle + reach))


def bootstrap(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean, by the percentiles of the means of resampled values (Efron 1979)."""
    array = np.asarray(values, np.float64)
    picks = numpy_generator(seed, len(array), "bootstrap").integers(len(array), size=(RESAMPLES, len(array)))
    low, high = np.percentile(array[picks].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)
