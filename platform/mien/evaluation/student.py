"""Intervals by Student's t: for few pairs, or levels so high that resamples would not tell them."""

import math

from mien.evaluation.bootstrap import Estimate
from mien.evaluation.embedded import Floats


def paired_interval(differences: Floats, level: float) -> Estimate:
    """Mean of differences [n] and its interval by Student's t with n - 1 degrees; without one for fewer than two."""
    from scipy.special import stdtrit

    if len(differences) < 2:
        return Estimate(float(differences.mean()) if len(differences) else math.nan, math.nan, math.nan)
    mean, error = float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(len(differences))
    reach = float(stdtrit(len(differences) - 1, (1 + level) / 2)) * error
    return Estimate(mean, mean - reach, mean + reach)
