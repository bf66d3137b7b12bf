"""Numbers of the activation maps of one layer for one image, [c, h, w]."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

THRESHOLD = 1e-3
"""Values nearer to 0 count for `sparsity`, whatever the scale of the layer."""
SHARE_OF_STD = 0.01
"""Values nearer to 0 than this share of the layer's standard deviation count for `relative_sparsity`; channels that
vary by no more than that are dead."""


@dataclass(frozen=True)
class Numbers:
    """Of all values together, unless it says channels. NaN where something is not defined."""

    mean: float
    std: float
    """Standard deviation."""
    min: float
    max: float
    median: float
    sparsity: float
    """Share of |x| < 0.001. Mostly re-states the scale: of a normal distribution it is about 0.0008 / std."""
    relative_sparsity: float
    """Share of |x| ≤ 1 % of the standard deviation; no scaling of the layer changes it."""
    hoyer: float
    """0 where all magnitudes are alike, 1 where one value alone is not 0 (Hoyer 2004)."""
    dead_channels: float
    """Share of the channels whose own standard deviation is at most 1 % of that of the layer."""
    effective_rank: float
    """Exponential of the entropy of the singular values of [c, h·w], each channel less its mean (Roy and Vetterli
    2007): as many directions as it says vary; 0 where nothing does."""


def measure(maps: npt.NDArray[np.float32] | Floats) -> Numbers:
    """Numbers of maps [c, h, w]."""
    values = maps.astype(np.float64).reshape(len(maps), -1)
    std, magnitude = float(values.std()), np.abs(values)
    return Numbers(
        mean=float(values.mean()),
        std=std,
        min=float(values.min()),
        max=float(values.max()),
        median=float(np.median(values)),
        sparsity=float((magnitude < THRESHOLD).mean()),
        relative_sparsity=float((magnitude <= SHARE_OF_STD * std).mean()),
        hoyer=_hoyer(magnitude),
        dead_channels=float((values.std(axis=1) <= SHARE_OF_STD * std).mean()),
        effective_rank=_effective_rank(values),
    )


def _hoyer(magnitude: Floats) -> float:
    """Sparseness (Hoyer 2004, section 3.1)."""
    root, l2 = math.sqrt(magnitude.size), float(np.sqrt(np.square(magnitude).sum()))
    if magnitude.size < 2 or l2 == 0:
        return math.nan
    return (root - float(magnitude.sum()) / l2) / (root - 1)


def _effective_rank(values: Floats) -> float:
    """Of [c, n], from the eigenvalues of the smaller of both Gram matrices: far cheaper than singular values."""
    centred = values - values.mean(axis=1, keepdims=True)
    gram = centred @ centred.T if len(centred) <= centred.shape[1] else centred.T @ centred
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))
    if singular.max() <= 1e-12 * np.abs(values).max():  # what rounding leaves of constant channels
        return 0.0
    share = singular[singular > 1e-7 * singular.max()]
    share = share / share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))
