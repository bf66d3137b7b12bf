"""Distances of distributions against scipy, loops and closed forms."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from mien.evaluation.set_distances import bandwidth, directions, kernel_distance, mean_gap, sliced_wasserstein

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 4)), RNG.normal(0.5, 1, (21, 4))
GROUPS = [np.arange(0, 7), np.arange(7, 19), np.arange(19, 30)]
ALL = [np.arange(30)]


def mmd(x: np.ndarray, y: np.ndarray, width: float) -> float:
    """Pair by pair."""
    kernels = [np.exp(-(cdist(*pair) ** 2) / (2 * width**2)) for pair in ((x, x), (y, y), (x, y))]
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in kernels[:2]]
    return float(sum(within) - 2 * kernels[2].mean())


def test_the_bandwidth_is_the_median_distance() -> None:
    assert bandwidth(X) == pytest.approx(np.median(cdist(X, X)[np.triu_indices(30, 1)]))
    with pytest.raises(ValueError, match="all embeddings are one"):
        bandwidth(np.ones((5, 3)))


def test_the_gap_is_the_distance_of_means_with_and_without_each_group() -> None:
    found = mean_gap(X, Y, GROUPS)
    assert found.whole == pytest.approx(math.dist(X.mean(0), Y.mean(0)))
    for number, rows in enumerate(GROUPS):
        assert found.left_out[number] == pytest.approx(math.dist(np.delete(X, rows, 0).mean(0), Y.mean(0)))


def test_the_kernel_distance_is_that_of_all_pairs_with_and_without_each_group() -> None:
    found = kernel_distance(X, Y, 1.3, GROUPS)
    assert found.whole == pytest.approx(mmd(X, Y, 1.3))
    for number, rows in enumerate(GROUPS):
        assert found.left_out[number] == pytest.approx(mmd(np.delete(X, rows, 0), Y, 1.3))
    assert len(kernel_distance(X, Y, 1.3, ALL).left_out) == 0


def test_one_distribution_is_at_no_distance_and_a_moved_one_is() -> None:
    same = [kernel_distance(RNG.normal(size=(200, 4)), RNG.normal(size=(200, 4)), 2.0, [np.arange(200)]).whole]
    assert abs(same[0]) < 0.01
    assert kernel_distance(RNG.normal(size=(200, 4)), RNG.normal(1, 1, (200, 4)), 2.0, [np.arange(200)]).whole > 0.1


def test_more_rows_than_are_compared_at_once_give_the_same() -> None:
    x = RNG.normal(size=(1500, 3))
    assert kernel_distance(x, Y[:, :3], 1.0, [np.arange(1500)]).whole == pytest.approx(mmd(x, Y[:, :3], 1.0))


def test_directions_have_length_1_and_depend_on_the_seed() -> None:
    drawn = directions(5, 7, 3)
    assert np.linalg.norm(drawn, axis=0) == pytest.approx(np.ones(7))
    assert np.array_equal(drawn, directions(5, 7, 3))
    assert not np.allclose(drawn, directions(5, 7, 4))


def test_sliced_wasserstein_of_unequal_sets_is_that_of_repeated_rows() -> None:
    """30 and 21 rows become 210 each, whose sorted projections are paired."""
    drawn = directions(4, 16, 0)
    repeated = [np.sort(np.repeat(side @ drawn, 210 // len(side), axis=0), axis=0) for side in (X, Y)]
    expected = math.sqrt(((repeated[0] - repeated[1]) ** 2).mean())
    found = sliced_wasserstein(X, Y, drawn, GROUPS)
    assert found.whole == pytest.approx(expected)
    assert found.left_out[1] == pytest.approx(
        sliced_wasserstein(np.delete(X, GROUPS[1], 0), Y, drawn, [np.arange(18)]).whole
    )


def test_sliced_wasserstein_of_a_shift_is_its_length_along_the_directions() -> None:
    drawn, shift = directions(4, 32, 0), np.array([1.0, -2.0, 0.5, 3.0])
    found = sliced_wasserstein(X, X + shift, drawn, ALL).whole
    assert found == pytest.approx(math.sqrt(((shift @ drawn) ** 2).mean()))
    assert sliced_wasserstein(X, X[::-1], drawn, ALL).whole == pytest.approx(0)
