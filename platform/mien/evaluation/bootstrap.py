"""Intervals by the cluster bootstrap: whole clips are drawn again, for the frames of a clip are not independent.

A statistic is written as a function of sums over frames, so that all resamples are one matrix product. Two systems that
go through one `Bootstrap` see the same resamples: the difference of their replicates is a paired one.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.evaluation.embedded import Floats, Ints


class BootstrapConfig(Config):
    """How intervals are found."""

    num: int = Field(1000, ge=100, le=100_000)
    """Resamples."""
    level: float = Field(0.95, ge=0.5, lt=1)
    """Probability that an interval holds the truth."""
    seed: int = Field(0, ge=0)
    """Of the resamples."""

    def build(self, clip: Ints) -> "Bootstrap":
        """Resamples of the clips of these frames, [N]."""
        return Bootstrap(clip, self)


@dataclass(frozen=True)
class Estimate:
    """A number and the interval around it; NaN where the data say nothing (one clip has no interval)."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Three decimals each."""
        interval = "no interval" if math.isnan(self.low) else f"{self.low:.3f} to {self.high:.3f}"
        return f"{self.value:.3f} ({interval})"


@dataclass(frozen=True)
class NotMeasurable:
    """Stands where a result would be."""

    reason: str
    """What the data lack."""


class Bootstrap:
    """Resamples of clips, drawn with replacement and as many as there are.

    The intervals tell how the numbers would vary with other held-out clips, not with another training. They are
    percentile intervals, widened for few clips as in Hesterberg (2015, "expanded percentile interval"): the tail of
    the normal distribution at sqrt(C / (C-1)) · t, with t the quantile of Student's distribution with C-1 degrees.
    """

    def __init__(self, clip: Ints, config: BootstrapConfig) -> None:
        """Draw the resamples.

        Args:
            clip: [N], number of the clip of each frame.
            config: Number of resamples, level and seed.

        Raises:
            ValueError: There is no frame.
        """
        if not len(clip):
            raise ValueError("clip: is empty; an interval needs at least one frame")
        names, self._cluster = np.unique(clip, return_inverse=True)
        self.num_clips = len(names)
        """C, how many clips there are."""
        self._counts = np.concatenate([np.ones((1, self.num_clips)), _draw(self.num_clips, config)])
        self._tail = _tail(config.level, self.num_clips)

    def by_clip(self, values: Floats) -> Floats:
        """Sums over the frames of each clip: [N, ...] to [C, ...]."""
        sums = np.zeros((self.num_clips, *values.shape[1:]))
        np.add.at(sums, self._cluster, values)
        return sums

    def total(self, values: Floats) -> Floats:
        """Sums over all frames: [N, ...] to replicates [1 + num, ...]; the first is that of the data as they are."""
        sums = self.by_clip(values)
        return (self._counts @ sums.reshape(self.num_clips, -1)).reshape(-1, *values.shape[1:])

    def mean(self, values: Floats) -> Floats:
        """Mean over frames: [N, ...] to replicates [1 + num, ...]; a long clip counts for more than a short one."""
        num_frames = self.total(np.ones(len(values)))
        return self.total(values) / num_frames.reshape(-1, *[1] * (values.ndim - 1))

    def mean_of_clips(self, values: Floats) -> Floats:
        """Mean over clips of their mean over frames: [N] to replicates [1 + num]; every clip counts the same."""
        return self._counts @ (self.by_clip(values) / self.by_clip(np.ones(len(values)))) / self.num_clips

    def mean_of_pairs(self, values: Floats) -> Floats:
        """Mean of x_i · x_j over pairs of different frames: [N, d] to replicates [1 + num].

        A frame and its copy in a resample are no pair. NaN where a resample has none.
        """
        num, squares = (self.by_clip(each) for each in (np.ones(len(values)), (values * values).sum(1)))
        sums, twice = self.total(values), self._counts * self._counts
        pairs = (self._counts @ num) ** 2 - twice @ num
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, ((sums * sums).sum(1) - twice @ squares) / pairs, np.nan)

    def estimate(self, replicates: Floats) -> Estimate:
        """Value and interval of a statistic from its replicates [1 + num].

        Resamples in which it is undefined (NaN) are left out.
        """
        value, others = float(replicates[0]), replicates[1:][np.isfinite(replicates[1:])]
        if math.isnan(value) or self.num_clips < 2 or not len(others):
            return Estimate(value, math.nan, math.nan)
        low, high = np.quantile(others, [self._tail, 1 - self._tail])
        return Estimate(value, float(low), float(high))


def interval(per_clip: Floats, config: BootstrapConfig) -> Estimate:
    """Mean of one value per clip, [C]: every clip counts the same. Clips with NaN are left out."""
    known = per_clip[np.isfinite(per_clip)]
    if not len(known):
        return Estimate(math.nan, math.nan, math.nan)
    bootstrap = config.build(np.arange(len(known)))
    return bootstrap.estimate(bootstrap.mean(known))


def paired_difference(first: Floats, second: Floats, config: BootstrapConfig) -> Estimate:
    """Mean of `first` minus `second`, both [C]: two systems on the same clips.

    Raises:
        ValueError: They do not have as many clips.
    """
    if first.shape != second.shape:
        raise ValueError(f"a paired difference needs the same clips, not shapes {first.shape} and {second.shape}")
    return interval(first - second, config)


def _draw(num_clips: int, config: BootstrapConfig) -> Floats:
    """How often each clip is in each resample, [num, C]."""
    rng = np.random.default_rng(config.seed)
    return rng.multinomial(num_clips, np.full(num_clips, 1 / num_clips), size=config.num).astype(np.float64)


def _tail(level: float, num_clips: int) -> float:
    """Share of the replicates that lies below an interval, and above it."""
    from scipy.special import stdtrit

    if num_clips < 2:
        return math.nan
    t = float(stdtrit(num_clips - 1, (1 + level) / 2))
    return NormalDist().cdf(-math.sqrt(num_clips / (num_clips - 1)) * t)
