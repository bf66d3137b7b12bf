"""How tokens move within a clip: smoothly, and when and where the face moves."""

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.evaluation.bootstrap import BootstrapConfig, Estimate, NotMeasurable, interval
from mien.evaluation.embedded import Bools, Embedded, Floats
from mien.evaluation.probes import lack
from mien.evaluation.ridge import RidgeConfig


class SmoothnessConfig(Config):
    """Which clips are looked at, and how far apart two curves may be."""

    ridge: RidgeConfig = RidgeConfig()
    """Reads the main movement of the face from tokens."""
    min_frames: int = Field(10, ge=3)
    """Shorter clips are left out."""
    max_lag_s: float = Field(0.5, gt=0, le=10)
    """Lags that are tried, to both sides."""
    min_std: float = Field(0.01, gt=0)
    """A clip in which the main movement varies less has no lag: scores of blendshapes, root of their squares."""

    def build(self, bootstrap: BootstrapConfig) -> "Smoothness":
        """The measure, and how its intervals are found."""
        return Smoothness(self, bootstrap)


@dataclass(frozen=True)
class Timing:
    """How a curve read from the tokens follows the first principal component of the blendshapes; means over clips."""

    lag_s: Estimate
    """At which both correlate most; above 0 the tokens come late."""
    correlation: Estimate
    """Without lag."""
    sign_agreement: Estimate
    """Share of changes from frame to frame that have the same sign, of the larger half; chance is 0.5."""
    explained_variance: float
    """Share of the variance of the training blendshapes that the component holds."""
    num_clips: int
    """In which the face moves."""


@dataclass(frozen=True)
class SmoothnessResult:
    """Means over held-out clips; in shuffled order every number is an exact expectation, no draw."""

    neighbour_cosine: Estimate
    """cos(e_t, e_t+1)."""
    neighbour_cosine_shuffled: Estimate
    neighbour_cosine_minus_shuffled: Estimate
    jitter: Estimate
    """Root mean square of |e_t+1 - 2 e_t + e_t-1|, unit vectors."""
    relative_jitter: Estimate
    """Divided by that in shuffled order: 0 for a straight line, 1 for frames that know nothing of each other."""
    timing: Timing | NotMeasurable
    num_clips: int
    num_short_clips: int
    """Left out."""


@dataclass(frozen=True)
class Smoothness:
    """Measures held-out clips; neighbours are frames one step apart, so that a gap is no jump."""

    config: SmoothnessConfig
    bootstrap: BootstrapConfig

    def __call__(self, embedded: Embedded) -> SmoothnessResult | NotMeasurable:
        """Measure the steps of the tokens, and how they follow the face."""
        unseen = embedded.where(embedded.is_held_out)
        clips = [_in_order(unseen.where(unseen.clip == name)) for name in np.unique(unseen.clip)]
        long = [clip for clip in clips if len(clip) >= self.config.min_frames]
        if not long:
            return NotMeasurable(f"held-out clips: {len(clips)}, none of them with {self.config.min_frames} frames")
        cosine, expected, jitter, relative = np.array([steps(clip.tokens, clip.time_s) for clip in long]).T
        return SmoothnessResult(
            neighbour_cosine=interval(cosine, self.bootstrap),
            neighbour_cosine_shuffled=interval(expected, self.bootstrap),
            neighbour_cosine_minus_shuffled=interval(cosine - expected, self.bootstrap),
            jitter=interval(jitter, self.bootstrap),
            relative_jitter=interval(relative, self.bootstrap),
            timing=self._timing(embedded, long),
            num_clips=len(long),
            num_short_clips=len(clips) - len(long),
        )

    def _timing(self, embedded: Embedded, clips: list[Embedded]) -> Timing | NotMeasurable:
        measured = embedded.where(embedded.is_measured)
        seen = measured.where(~measured.is_held_out)
        if reason := lack(seen, measured.where(measured.is_held_out)):
            return NotMeasurable(reason)
        mean, component, share = principal_component(seen.blendshapes)
        ridge = self.config.ridge.build()(seen.tokens, ((seen.blendshapes - mean) @ component)[:, None], seen.clip)
        curves = [
            (ridge.predict(clip.tokens)[:, 0], (clip.blendshapes - mean) @ component, clip.time_s)
            for clip in (clip.where(clip.is_measured) for clip in clips)
            if len(clip) >= self.config.min_frames
        ]
        moving = [curve for curve in curves if curve[1].std() > self.config.min_std]
        if not moving:
            return NotMeasurable(f"held-out clips: {len(clips)}; the face is seen to move in none of them")
        lag_s, correlation, agreement = np.array([self._follow(*curve) for curve in moving]).T
        return Timing(
            lag_s=interval(lag_s, self.bootstrap),
            correlation=interval(correlation, self.bootstrap),
            sign_agreement=interval(agreement, self.bootstrap),
            explained_variance=share,
            num_clips=len(moving),
        )

    def _follow(self, read: Floats, shown: Floats, time_s: Floats) -> tuple[float, float, float]:
        """Lag, correlation and sign agreement of a curve read from tokens with the one shown, both [T]."""
        step_s = float(np.median(np.diff(time_s)))
        reach = min(round(self.config.max_lag_s / step_s), len(read) // 2)
        lags = range(-reach, reach + 1)
        at_lag = np.array([lagged_correlation(read, shown, time_s, lag) for lag in lags])
        if np.isnan(at_lag).all():
            return math.nan, math.nan, math.nan
        lag_s = lags[int(np.nanargmax(at_lag))] * step_s
        return lag_s, float(at_lag[reach]), sign_agreement(read, shown, time_s)


def steps(tokens: Floats, time_s: Floats) -> tuple[float, float, float, float]:
    """Cosine of neighbours, that in shuffled order, jitter, and jitter relative to shuffled order, of one clip.

    In a random order two neighbours are any two frames, so their cosine is the mean over all pairs; and the mean square
    of a second difference is 6 tr S, for (1, -2, 1) sums to 0 and its squares to 6, with S the sample covariance.

    Args:
        tokens: [T, D] in the order of time.
        time_s: [T], ascending.
    """
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    near, num = is_apart(time_s, 1), len(unit)
    both = near[1:] & near[:-1]
    cosine = (unit[1:] * unit[:-1]).sum(1)[near].mean() if near.any() else math.nan
    expected = (np.square(unit.sum(0)).sum() - num) / (num * (num - 1))
    jitter = math.sqrt(np.square(np.diff(unit, n=2, axis=0)).sum(1)[both].mean()) if both.any() else math.nan
    shuffled = math.sqrt(6 * unit.var(0, ddof=1).sum())
    return float(cosine), float(expected), jitter, jitter / shuffled if shuffled > 1e-6 else math.nan


def is_apart(time_s: Floats, num_steps: int) -> Bools:
    """Whether frame t + num_steps comes that many steps after frame t, and not after a gap: [T] to [T - num_steps]."""
    step_s = np.median(np.diff(time_s))
    return np.asarray(np.abs(time_s[num_steps:] - time_s[: len(time_s) - num_steps] - num_steps * step_s) < step_s / 2)


def lagged_correlation(read: Floats, shown: Floats, time_s: Floats, lag: int) -> float:
    """Correlation of read[t + lag] with shown[t], both [T]; NaN where one of both is constant."""
    near = is_apart(time_s, abs(lag))
    late, early = (read, shown) if lag >= 0 else (shown, read)
    x, y = late[abs(lag) :][near], early[: len(early) - abs(lag)][near]
    if len(x) < 3 or x.std() < 1e-9 or y.std() < 1e-9:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def sign_agreement(read: Floats, shown: Floats, time_s: Floats) -> float:
    """Share of steps in which both change in the same direction, of those where `shown` changes the most (half).

    The sign of the smaller ones is the noise of the blendshapes.
    """
    near = is_apart(time_s, 1)
    read_change, shown_change = np.diff(read)[near], np.diff(shown)[near]
    large = np.abs(shown_change) >= np.median(np.abs(shown_change)) if len(shown_change) else near
    large = large & (shown_change != 0)
    return float(np.mean(np.sign(read_change) == np.sign(shown_change), where=large)) if large.any() else math.nan


def principal_component(values: Floats) -> tuple[Floats, Floats, float]:
    """Mean [B], first principal component [B] and the share of the variance it holds, of [N, B]."""
    mean = values.mean(0)
    variances, vectors = np.linalg.eigh(np.cov(values, rowvar=False))
    total = float(variances.sum())
    return mean, vectors[:, -1], float(variances[-1]) / total if total > 0 else math.nan


def _in_order(clip: Embedded) -> Embedded:
    """Frames of a clip by time."""
    return clip.where(np.argsort(clip.time_s))
