"""How well predicted blendshapes agree with measured ones, each for itself: replicates of R² and correlation."""

import numpy as np

from mien.evaluation.bootstrap import Bootstrap
from mien.evaluation.embedded import Bools, Floats


def r_squared(truth: Floats, predicted: Floats, centre: Floats, bootstrap: Bootstrap) -> Floats:
    """1 - Σ(truth - predicted)² / Σ(truth - centre)², as replicates [1 + num, B].

    The centre is the mean of the training frames: whoever knows nothing but those scores 0. The mean of the held-out
    frames is not known to any predictor, and would punish it for a shift between the two.

    Args:
        truth: [N, B].
        predicted: [N, B].
        centre: [B], mean of the training frames.
        bootstrap: Of these N frames.
    """
    error, spread = bootstrap.total((truth - predicted) ** 2), bootstrap.total((truth - centre) ** 2)
    return 1 - error / np.where(spread > 0, spread, np.nan)


def correlation(truth: Floats, predicted: Floats, bootstrap: Bootstrap) -> Floats:
    """Pearson's correlation over frames, as replicates [1 + num, B]; 0 where one of both is constant."""
    x, y = truth - truth.mean(0), predicted - predicted.mean(0)  # keeps the sums of squares exact
    x_mean, y_mean = bootstrap.mean(x), bootstrap.mean(y)
    covariance = bootstrap.mean(x * y) - x_mean * y_mean
    variances = (bootstrap.mean(x * x) - x_mean**2) * (bootstrap.mean(y * y) - y_mean**2)
    return covariance / np.sqrt(np.where(variances > 1e-24, variances, np.inf))


def varies(blendshapes: Floats, min_std: float) -> Bools:
    """Blendshapes whose standard deviation over the frames is at least `min_std`: [N, B] to [B]."""
    return np.asarray(blendshapes.std(0) >= min_std)
