"""Scales of vectors: as they are, to mean 0 and deviation 1, or to 0 to 1; each can be undone.

A scale of the whole set keeps clips comparable; one of each clip takes away what is the same in all of its frames.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mien.config import Config

Floats = npt.NDArray[np.floating[Any]]
Kind = Literal["none", "standardise", "min_max"]
KINDS: tuple[Kind, ...] = ("none", "standardise", "min_max")

_LEAST = 1e-7
"""A dimension that varies less is shifted and not scaled, for its scale would be rounding."""


class NormaliseConfig(Config):
    """How vectors are scaled, each dimension by itself."""

    kind: Kind = "none"
    """`none`: as the extractor gave them. `standardise`: minus the mean, over the deviation. `min_max`: to 0 to 1."""
    scope: Literal["clip", "dataset"] = "dataset"
    """Whose mean, deviation and limits: of each clip, or of all frames together."""


@dataclass(frozen=True)
class Scale:
    """x to (x - shift) / size, and back."""

    shift: Floats
    """[D]."""
    size: Floats
    """[D], above 0."""

    def apply(self, values: Floats) -> Floats:
        """[..., D] to the same shape."""
        return np.asarray((values - self.shift) / self.size)

    def undo(self, values: Floats) -> Floats:
        """The inverse of `apply`."""
        return np.asarray(values * self.size + self.shift)


def fit(values: Floats, kind: Kind) -> Scale:
    """The scale of these vectors.

    Args:
        values: [N, D], finite, one row or more.
        kind: Of the scale; deviations are those of the population.

    Raises:
        ValueError: They have another shape, are none, or are not finite.
    """
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"values: shape {list(values.shape)}; a scale needs finite vectors [N, D], one or more")
    num = values.shape[1]
    if kind == "none":
        return Scale(np.zeros(num), np.ones(num))
    shift = values.mean(0) if kind == "standardise" else values.min(0)
    size = values.std(0) if kind == "standardise" else values.max(0) - shift
    return Scale(shift, np.where(size > _LEAST, size, 1.0))


def normalise(values: Floats, clip: npt.NDArray[np.integer[Any]], config: NormaliseConfig) -> Floats:
    """Vectors in the scale of the set or of their clips.

    Args:
        values: [N, D].
        clip: [N], number of the clip of each.
        config: How.

    Raises:
        ValueError: They are none, or not finite.
    """
    if config.scope == "dataset":
        return fit(values, config.kind).apply(values)
    scaled = np.empty_like(values)
    for number in np.unique(clip):
        rows = clip == number
        scaled[rows] = fit(values[rows], config.kind).apply(values[rows])
    return scaled
