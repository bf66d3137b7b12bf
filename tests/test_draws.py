"""Draws against an independent SplitMix64 in plain Python and against the laws of their distributions."""

import numpy as np
import pytest
import torch
from scipy import stats

from mien import draws

MASK = 2**64 - 1


def splitmix(state: int) -> int:
    """Reference, from the published algorithm, in unsigned Python integers."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
    return state ^ state >> 31


def test_bits_are_those_of_splitmix64() -> None:
    drawn = draws.bits(torch.tensor([0, 1234567]), 3)
    expected = [[splitmix(start + (n + 1) * 0x9E3779B97F4A7C15 & MASK) for n in range(3)] for start in (0, 1234567)]
    assert [[value & MASK for value in row] for row in drawn.tolist()] == expected
    assert expected[1][0] == 6457827717110365317  # the vector that is published with the algorithm


def test_a_draw_depends_on_the_sample_and_not_on_who_stands_beside_it() -> None:
    together = draws.normal(draws.keys(7, "noise", torch.arange(8), 3), (5,))
    alone = torch.cat([draws.normal(draws.keys(7, "noise", torch.tensor([n]), 3), (5,)) for n in range(8)])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("other", [(8, "noise", 3), (7, "time", 3), (7, "noise", 4)])
def test_seed_stream_and_step_each_change_everything(other: tuple[int, str, int]) -> None:
    index = torch.arange(64)
    seed, stream, step = other
    assert not (draws.keys(7, "noise", index, 3) == draws.keys(seed, stream, index, step)).any()


def test_no_two_keys_are_alike() -> None:
    found = torch.stack([draws.keys(0, "shuffle", torch.arange(20_000), step) for step in range(5)])
    assert found.unique().numel() == found.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distributions(dtype: torch.dtype) -> None:
    key = draws.keys(1, "test", torch.arange(50))
    uniform = draws.uniform(key, (1001,), dtype).flatten().numpy()
    normal = draws.normal(key, (1001,), dtype).flatten().numpy()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 0.01
    assert stats.kstest(normal, "norm").pvalue > 0.01
    assert abs(np.corrcoef(normal[:-1], normal[1:])[0, 1]) < 0.02


def test_whole_numbers_fill_their_range() -> None:
    drawn = draws.integers(draws.keys(1, "t", torch.arange(30_000)), 7, 3)
    counts = torch.bincount(drawn)
    assert counts[:3].sum() == 0
    assert len(counts) == 7
    assert stats.chisquare(counts[3:].numpy()).pvalue > 0.01


def test_shares_are_kept() -> None:
    key = draws.keys(1, "dropout", torch.arange(40))
    assert draws.keep(key, (3, 5), 1.0).all()
    assert not draws.keep(key, (3, 5), 0.0).any()
    kept = draws.keep(key, (999,), 0.9)
    assert kept.shape == (40, 999)
    assert abs(kept.float().mean().item() - 0.9) < 0.005


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1000, 4097])
def test_a_permutation_is_one_and_differs_by_key(size: int) -> None:
    order = [draws.permuted(torch.arange(size), size, draws.keys(0, "order", torch.tensor(n))) for n in range(2)]
    for one in order:
        assert torch.equal(one.sort().values, torch.arange(size))
    assert size < 60 or (order[0] != order[1]).float().mean() > 0.9


def test_a_permutation_mixes() -> None:
    place = draws.permuted(torch.arange(5000), 5000, draws.keys(0, "order", torch.tensor(0))).numpy()
    assert abs(np.corrcoef(np.arange(5000), place)[0, 1]) < 0.05


def test_positions_outside_are_refused() -> None:
    key = draws.keys(0, "order", torch.tensor(0))
    with pytest.raises(ValueError, match="0 ≤ position < 3"):
        draws.permuted(torch.tensor([3]), 3, key)


def test_a_key_without_a_shape_draws_single_numbers() -> None:
    key = draws.keys(0, "window", torch.tensor(5))
    assert draws.uniform(key).shape == draws.normal(key).shape == draws.keep(key, (), 0.5).shape == ()
    assert 3 <= int(draws.integers(key, 7, 3)) < 7
