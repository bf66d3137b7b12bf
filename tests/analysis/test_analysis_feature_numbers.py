"""Numbers of activation maps against other ways to compute them."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from mien.analysis.feature_numbers import measure

RNG = np.random.default_rng(0)
MAPS = RNG.normal(0.3, 0.5, (6, 5, 7)).astype(np.float32)


def test_numbers_are_those_of_torch() -> None:
    found, values = measure(MAPS), torch.tensor(MAPS).double()
    assert found.mean == pytest.approx(float(values.mean()))
    assert found.std == pytest.approx(float(values.std(correction=0)))
    assert (found.min, found.max) == (float(values.min()), float(values.max()))
    assert found.median == pytest.approx(float(values.flatten().quantile(0.5)))
    assert found.sparsity == float((values.abs() < 1e-3).double().mean())


def test_sparsity_of_a_normal_distribution_restates_its_scale_and_the_relative_one_does_not() -> None:
    drawn = RNG.normal(0, 0.225, (64, 100, 100))
    assert measure(drawn).sparsity == pytest.approx(0.0035, abs=2e-4)
    assert measure(10 * drawn).sparsity == pytest.approx(0.00035, abs=1e-4)
    expected = 2 * scipy.stats.norm.cdf(0.01) - 1
    assert measure(drawn).relative_sparsity == pytest.approx(expected, abs=5e-4)
    for name in ("relative_sparsity", "hoyer", "dead_channels", "effective_rank"):
        assert getattr(measure(8 * drawn), name) == pytest.approx(getattr(measure(drawn), name))


def test_hoyer_is_0_for_equal_magnitudes_and_1_for_a_single_value() -> None:
    signs = np.where(np.arange(24).reshape(2, 3, 4) % 2, -3.0, 3.0)
    assert measure(signs).hoyer == pytest.approx(0, abs=1e-12)
    single = np.zeros((2, 3, 4))
    single[1, 2, 3] = -5
    assert measure(single).hoyer == pytest.approx(1)
    l1, l2, n = np.linalg.norm(MAPS.ravel(), 1), np.linalg.norm(MAPS.ravel()), MAPS.size
    assert measure(MAPS).hoyer == pytest.approx((math.sqrt(n) - l1 / l2) / (math.sqrt(n) - 1), rel=1e-5)


@pytest.mark.parametrize("shape", [(6, 5, 7), (50, 3, 3)], ids=["more places", "more channels"])
def test_effective_rank_is_the_entropy_of_singular_values(shape: tuple[int, int, int]) -> None:
    maps = RNG.normal(size=shape)
    flat = torch.tensor(maps).flatten(1)
    values = torch.linalg.svdvals(flat - flat.mean(1, keepdim=True))
    expected = torch.distributions.Categorical(values / values.sum()).entropy().exp()
    assert measure(maps).effective_rank == pytest.approx(float(expected), rel=1e-5)


def test_copies_of_one_channel_have_rank_1() -> None:
    maps = np.arange(1.0, 5)[:, None, None] * RNG.normal(size=(1, 6, 6)) + np.arange(4)[:, None, None]
    assert measure(maps).effective_rank == pytest.approx(1, abs=1e-4)


def test_dead_channels_are_those_that_are_flat_wherever_they_lie() -> None:
    maps = RNG.normal(size=(8, 9, 9))
    maps[2], maps[5] = 0, 3 + 1e-4 * RNG.normal(size=(9, 9))
    assert measure(maps).dead_channels == 2 / 8


@pytest.mark.parametrize(("level", "sparse"), [(0.0, 1.0), (7.0, 0.0)])
def test_maps_that_never_vary_have_numbers_too(level: float, sparse: float) -> None:
    found = measure(np.full((3, 4, 4), level))
    assert (found.sparsity, found.relative_sparsity, found.dead_channels) == (sparse, sparse, 1)
    assert found.effective_rank == 0
    assert math.isnan(found.hoyer) == (level == 0)


def test_one_value_alone_has_no_sparseness() -> None:
    assert math.isnan(measure(np.ones((1, 1, 1))).hoyer)
