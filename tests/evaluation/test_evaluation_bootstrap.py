"""Intervals against scipy's bootstrap, against a resampling written out, and against truths that are known."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from mien.evaluation.bootstrap import BootstrapConfig, Estimate, interval, paired_difference


def frames(num_clips: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values of truth 0 that a clip shares for the greater part, and the clips, of 3 to 11 frames."""
    rng = np.random.default_rng(seed)
    clip = np.repeat(np.arange(num_clips), rng.integers(3, 12, num_clips))
    return rng.normal(size=num_clips)[clip] + 0.3 * rng.normal(size=len(clip)), clip


def widened(level: float, num: int) -> float:
    """Level of the percentile interval that Hesterberg (2015) puts in place of `level`."""
    return 2 * NormalDist().cdf(math.sqrt(num / (num - 1)) * stats.t.ppf((1 + level) / 2, num - 1)) - 1


@pytest.mark.parametrize("num", [8, 60])
def test_one_value_per_clip_is_the_bootstrap_of_scipy(num: int) -> None:
    values = np.random.default_rng(3).exponential(size=num)
    found = interval(values, BootstrapConfig(num=20_000))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", confidence_level=widened(0.95, num), rng=1
    ).confidence_interval
    width = expected.high - expected.low
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.high == pytest.approx(expected.high, abs=0.03 * width)


def test_replicates_are_those_of_clips_that_are_copied_out() -> None:
    values, clip = frames(7)
    bootstrap = BootstrapConfig(num=100, seed=5).build(clip)
    found = bootstrap.mean(values)
    counts = bootstrap.total(np.eye(7)[clip]) / np.bincount(clip)  # how often each clip was drawn, [101, 7]
    assert np.array_equal(counts[0], np.ones(7))
    assert (counts.sum(1) == 7).all()
    for replicate, drawn in zip(found, counts.astype(int), strict=True):
        copies = [values[clip == name] for name, times in enumerate(drawn) for _ in range(times)]
        assert replicate == pytest.approx(np.concatenate(copies).mean())
    each = np.array([values[clip == name].mean() for name in range(7)])
    assert np.allclose(bootstrap.mean_of_clips(values), counts @ each / 7)


def test_pairs_are_of_different_frames_in_every_resample() -> None:
    values, clip = np.random.default_rng(1).normal(size=(9, 3)), np.array([0, 0, 1, 1, 2, 2, 2, 3, 3])
    bootstrap = BootstrapConfig(num=100, seed=5).build(clip)
    counts = (bootstrap.total(np.eye(4)[clip]) / np.bincount(clip)).astype(int)
    for replicate, drawn in zip(bootstrap.mean_of_pairs(values), counts, strict=True):
        weight = np.outer(drawn[clip], drawn[clip]) * (1 - np.eye(9))
        assert replicate == pytest.approx((weight * (values @ values.T)).sum() / weight.sum())
    assert np.isnan(BootstrapConfig(num=100).build(np.array([0, 1])).mean_of_pairs(values[:2])).any()


@pytest.mark.parametrize("num_clips", [6, 25])
def test_the_truth_is_inside_as_often_as_promised(num_clips: int) -> None:
    """Binomial: 400 intervals of level 0.9 hold it 360 times, give or take 6; 4 and more of that are allowed for."""
    is_inside, is_inside_of_frames = [], []
    for seed in range(400):
        values, clip = frames(num_clips, seed)
        bootstrap = BootstrapConfig(num=200, level=0.9).build(clip)
        found = bootstrap.estimate(bootstrap.mean(values))
        is_inside.append(found.low <= 0 <= found.high)
        alone = interval(values, BootstrapConfig(num=200, level=0.9))
        is_inside_of_frames.append(alone.low <= 0 <= alone.high)
    assert 0.84 < np.mean(is_inside) < 0.96
    assert np.mean(is_inside_of_frames) < 0.7  # what resampling frames instead would promise wrongly


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    rng = np.random.default_rng(0)
    clip_is_hard = rng.normal(size=30)
    first, second = clip_is_hard + 0.1 + 0.05 * rng.normal(size=30), clip_is_hard + 0.05 * rng.normal(size=30)
    found = paired_difference(first, second, BootstrapConfig())
    assert found.low > 0
    assert found.high - found.low < 0.06
    alone = interval(first, BootstrapConfig())
    assert alone.high - alone.low > 0.5
    with pytest.raises(ValueError, match="same clips"):
        paired_difference(first, second[1:], BootstrapConfig())


def test_the_seed_decides_and_the_order_of_frames_does_not() -> None:
    values, clip = frames(9)
    order = np.random.default_rng(0).permutation(len(clip))

    def found(seed: int, order: np.ndarray) -> Estimate:
        bootstrap = BootstrapConfig(seed=seed).build(clip[order])
        return bootstrap.estimate(bootstrap.mean(values[order]))

    kept = np.arange(len(clip))
    assert found(0, kept) == found(0, kept)
    assert found(0, kept) != found(1, kept)
    moved = found(0, order)
    assert (moved.low, moved.high) == pytest.approx((found(0, kept).low, found(0, kept).high))


def test_one_clip_has_a_value_and_no_interval() -> None:
    found = interval(np.array([0.4]), BootstrapConfig())
    assert found.value == 0.4
    assert math.isnan(found.low)
    assert str(found) == "0.400 (no interval)"


def test_unknown_values_are_left_out() -> None:
    known = np.array([1.0, 2.0, 4.0])
    assert interval(np.append(known, np.nan), BootstrapConfig()) == interval(known, BootstrapConfig())
    assert math.isnan(interval(np.array([np.nan]), BootstrapConfig()).value)


def test_resamples_without_a_value_are_left_out() -> None:
    bootstrap = BootstrapConfig(num=100).build(np.arange(5))
    replicates = np.concatenate([[2.0], np.full(50, np.nan), np.linspace(1, 3, 50)])
    found = bootstrap.estimate(replicates)
    assert 1 <= found.low < found.high <= 3


def test_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        BootstrapConfig().build(np.array([], int))
