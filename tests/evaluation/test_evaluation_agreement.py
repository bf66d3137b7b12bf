"""R² and correlation against scikit-learn and numpy on the frames themselves."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from mien.evaluation.agreement import correlation, r_squared, varies
from mien.evaluation.bootstrap import BootstrapConfig

RNG = np.random.default_rng(0)
TRUTH = 0.5 + RNG.normal(size=(60, 4)) * [0.1, 0.1, 0.2, 0.3]
PREDICTED = 0.7 * TRUTH + 0.05 * RNG.normal(size=(60, 4))
BOOTSTRAP = BootstrapConfig(num=100).build(np.repeat(np.arange(6), 10))


def test_r_squared_about_their_own_mean_is_that_of_scikit_learn() -> None:
    found = r_squared(TRUTH, PREDICTED, TRUTH.mean(0), BOOTSTRAP)
    assert found.shape == (101, 4)
    assert found[0] == pytest.approx(r2_score(TRUTH, PREDICTED, multioutput="raw_values"))


def test_r_squared_is_0_for_the_centre_and_1_for_the_truth() -> None:
    centre = np.full(4, 0.45)
    assert np.allclose(r_squared(TRUTH, np.broadcast_to(centre, TRUTH.shape), centre, BOOTSTRAP), 0)
    assert np.allclose(r_squared(TRUTH, TRUTH, centre, BOOTSTRAP), 1)


def test_correlation_is_that_of_numpy() -> None:
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(TRUTH.T, PREDICTED.T, strict=True)]
    assert correlation(TRUTH, PREDICTED, BOOTSTRAP)[0] == pytest.approx(expected)
    assert correlation(TRUTH, -3 * TRUTH + 100, BOOTSTRAP) == pytest.approx(-np.ones((101, 4)))


def test_what_is_constant_follows_nothing() -> None:
    assert np.array_equal(correlation(TRUTH, np.full((60, 4), 0.3), BOOTSTRAP), np.zeros((101, 4)))


def test_blendshapes_that_hardly_vary_are_found() -> None:
    assert varies(TRUTH * [0, 0.001, 1, 1], 0.01).tolist() == [False, False, True, True]
