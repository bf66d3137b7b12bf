"""Smoothness against shuffles that are carried out, and timing against lags that were planted."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from embedded_scenes import embedded, expression
from mien.evaluation.bootstrap import BootstrapConfig, NotMeasurable
from mien.evaluation.embedded import Embedded
from mien.evaluation.smoothness import (
    SmoothnessConfig,
    SmoothnessResult,
    Timing,
    is_apart,
    lagged_correlation,
    principal_component,
    sign_agreement,
    steps,
)

TIME_S = np.arange(40) / 25


def found(frames: Embedded) -> SmoothnessResult:
    result = SmoothnessConfig().build(BootstrapConfig())(frames)
    assert isinstance(result, SmoothnessResult)
    return result


def test_shuffled_order_is_the_mean_over_shuffles(rng: np.random.Generator) -> None:
    walk = np.cumsum(rng.normal(size=(40, 8)), axis=0)
    cosine, expected, jitter, relative = steps(walk, TIME_S)
    unit = walk / np.linalg.norm(walk, axis=1, keepdims=True)
    orders = [unit[rng.permutation(40)] for _ in range(4000)]
    shuffled_cosine = np.mean([(e[1:] * e[:-1]).sum(1).mean() for e in orders])
    shuffled_square = np.mean([np.square(e[2:] - 2 * e[1:-1] + e[:-2]).sum(1).mean() for e in orders])
    assert cosine == pytest.approx(np.mean([unit[t] @ unit[t + 1] for t in range(39)]))
    assert expected == pytest.approx(shuffled_cosine, abs=0.005)
    assert relative == pytest.approx(jitter / math.sqrt(shuffled_square), rel=0.01)


def test_a_slow_turn_has_the_jitter_of_its_angle() -> None:
    """On a circle |e_t+1 - 2 e_t + e_t-1| = 2 - 2 cos(angle)."""
    angle = 0.05
    turn = np.stack([np.cos(angle * np.arange(40)), np.sin(angle * np.arange(40))], axis=1)
    cosine, _, jitter, relative = steps(3 * turn, TIME_S)
    assert cosine == pytest.approx(math.cos(angle))
    assert jitter == pytest.approx(2 - 2 * math.cos(angle))
    assert relative < 0.01


def test_frames_that_know_nothing_of_each_other_are_as_rough_as_shuffled() -> None:
    result = found(embedded())
    assert result.relative_jitter.value == pytest.approx(1, abs=0.03)
    assert result.neighbour_cosine_minus_shuffled.low < 0 < result.neighbour_cosine_minus_shuffled.high


def test_smooth_tokens_are_smoother_than_shuffled() -> None:
    result = found(embedded(tokens=expression(20, 40, 16, seed=2) - 0.5))
    assert result.neighbour_cosine_minus_shuffled.low > 0.3
    assert result.relative_jitter.high < 0.8


def test_a_gap_is_no_jump() -> None:
    time_s = np.concatenate([TIME_S[:20], 3 + TIME_S[20:]])
    assert is_apart(time_s, 1).sum() == 38
    assert not is_apart(time_s, 1)[19]
    halves = np.concatenate([np.tile([1.0, 0], (20, 1)), np.tile([0.0, 1], (20, 1))])
    cosine, _, jitter, _ = steps(halves, time_s)
    assert (cosine, jitter) == (1, 0)
    assert steps(halves, TIME_S)[0] < 1


def test_the_order_of_rows_does_not_matter(rng: np.random.Generator) -> None:
    frames = embedded(tokens=expression(20, 40, 16, seed=2) - 0.5)
    order = rng.permutation(len(frames))
    moved, kept = found(frames.where(order)), found(frames)
    assert moved.relative_jitter.value == pytest.approx(kept.relative_jitter.value)
    assert isinstance(moved.timing, Timing)
    assert isinstance(kept.timing, Timing)
    assert moved.timing.lag_s.value == pytest.approx(kept.timing.lag_s.value)


def delayed(num_frames: int) -> Embedded:
    """One blendshape moves; the tokens show what it was `num_frames` ago (or will be, below 0)."""
    long = expression(20, 60, 1, seed=4).reshape(20, 60)
    blendshapes = np.full((800, 6), 0.5)
    blendshapes[:, 2] = long[:, 10:50].reshape(-1)
    shown = long[:, 10 - num_frames : 50 - num_frames].reshape(-1)
    rng = np.random.default_rng(2)
    tokens = np.outer(shown - 0.5, rng.normal(size=16)) + 0.01 * rng.normal(size=(800, 16))
    return embedded(blendshapes=blendshapes, tokens=tokens)


@pytest.mark.parametrize("num_frames", [-3, 0, 2])
def test_a_planted_lag_is_found(num_frames: int) -> None:
    timing = found(delayed(num_frames)).timing
    assert isinstance(timing, Timing)
    assert timing.lag_s.value == pytest.approx(num_frames / 25, abs=0.005)
    assert timing.explained_variance == pytest.approx(1)
    if num_frames == 0:
        assert timing.correlation.low > 0.95
        assert timing.sign_agreement.low > 0.95


def test_tokens_without_expression_agree_by_chance() -> None:
    timing = found(embedded(blendshapes=delayed(0).blendshapes)).timing
    assert isinstance(timing, Timing)
    assert timing.correlation.low < 0.05
    assert timing.sign_agreement.low < 0.55
    assert timing.sign_agreement.high > 0.45


def test_correlation_at_a_lag_is_that_of_the_shifted_curves(rng: np.random.Generator) -> None:
    read, shown = rng.normal(size=40), rng.normal(size=40)
    assert lagged_correlation(read, shown, TIME_S, 3) == pytest.approx(np.corrcoef(read[3:], shown[:-3])[0, 1])
    assert lagged_correlation(read, shown, TIME_S, -3) == pytest.approx(np.corrcoef(read[:-3], shown[3:])[0, 1])
    assert math.isnan(lagged_correlation(np.ones(40), shown, TIME_S, 0))


def test_signs_of_small_changes_do_not_count() -> None:
    shown = np.cumsum([0.0, 1, 0.1, -1, 0.1, 2, 0.1, 1])
    read = np.cumsum([0.0, 1, -5, -1, -5, -2, -5, 1])  # wrong in each small step and in one large one
    assert sign_agreement(read, shown, np.arange(8) / 25) == pytest.approx(3 / 4)


def test_the_component_is_that_of_a_singular_value_decomposition(rng: np.random.Generator) -> None:
    values = rng.normal(size=(50, 6)) * np.arange(1, 7)
    mean, component, share = principal_component(values)
    _, singular, right = np.linalg.svd(values - values.mean(0))
    assert abs(component @ right[0]) == pytest.approx(1)
    assert share == pytest.approx(singular[0] ** 2 / (singular**2).sum())
    assert mean == pytest.approx(values.mean(0))


def test_short_clips_are_counted_and_left_out() -> None:
    frames = embedded()
    keep = (frames.clip != 4) | (frames.time_s < 0.2)  # 5 frames of clip 4
    result = found(frames.where(keep))
    assert (result.num_clips, result.num_short_clips) == (7, 1)


def test_a_face_that_does_not_move_has_no_timing() -> None:
    result = found(embedded(blendshapes=np.full((800, 6), 0.4)))
    assert isinstance(result.timing, NotMeasurable)
    assert "move in none" in result.timing.reason
    blind = found(embedded(blendshapes=np.full((800, 6), np.nan)))
    assert isinstance(blind.timing, NotMeasurable)
    assert blind.relative_jitter == result.relative_jitter


def test_tokens_that_stand_still_have_no_relative_jitter() -> None:
    result = found(embedded(tokens=np.ones((800, 4))))
    assert result.neighbour_cosine.value == pytest.approx(1)
    assert result.jitter.value == pytest.approx(0, abs=1e-9)
    assert math.isnan(result.relative_jitter.value)


@pytest.mark.parametrize("frames", [embedded(num_clips=1), embedded(num_frames=5)], ids=["none held out", "short"])
def test_without_a_long_held_out_clip_there_is_no_measure(frames: Embedded) -> None:
    assert isinstance(SmoothnessConfig().build(BootstrapConfig())(frames), NotMeasurable)


def test_the_same_data_give_the_same_numbers() -> None:
    assert str(asdict(found(delayed(1)))) != str(asdict(found(embedded())))
    frames = embedded()
    assert found(frames) == found(frames)
