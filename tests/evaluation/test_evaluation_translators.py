"""Translators that are fitted to pairs against scikit-learn and known maps, and what they leave untouched."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from torch.nn import functional

from mien.evaluation import translators
from mien.evaluation.translators import Adapter, FitConfig, TrainingPairs, Translator

DIM = 8
FIT = FitConfig(num_steps=400, hidden_dim=64, bottleneck_dim=16, learning_rate=5e-3)
BRIEF = FitConfig(num_steps=5)


def pairs(num: int = 200) -> TrainingPairs:
    """The target is the source in another order of its dimensions, moved and bent a little."""
    source = functional.normalize(torch.randn(num, DIM, generator=torch.Generator().manual_seed(0)))
    return TrainingPairs(3 * source, source.roll(1, dims=1) + 0.3 + 0.1 * source**2)


def fitted(config: FitConfig = BRIEF) -> list[Translator]:
    one = pairs()
    fits = [translators.learned_projection(one, config), translators.adapter(one, config)]
    return [translators.mean_shift(one), translators.noise(0.5, 0), translators.linear_map(one), *fits]


def test_the_linear_map_is_that_of_scikit_learn() -> None:
    known, asked = pairs(), pairs(230).source[200:]
    model = LinearRegression().fit(known.source.numpy(), known.target.numpy())
    expected = model.predict(asked.numpy())
    found = translators.linear_map(known)(5 * asked).numpy()
    assert found == pytest.approx(expected / np.linalg.norm(expected, axis=1, keepdims=True), abs=1e-5)


def test_fewer_pairs_than_dimensions_have_a_linear_map_too() -> None:
    known = TrainingPairs(pairs().source[:3], pairs().target[:3])
    assert torch.allclose(translators.linear_map(known)(known.source), known.target, atol=1e-5)


def test_what_is_fitted_brings_unseen_rows_nearer_than_the_mean_does() -> None:
    new = TrainingPairs(pairs(300).source[200:], pairs(300).target[200:])
    cosine = {one.name: float((one(new.source) * new.target).sum(1).mean()) for one in fitted(FIT)}
    assert cosine["noise"] < cosine["mean shift"] < 0.8
    assert min(cosine[name] for name in ("linear map", "learned projection", "adapter")) > 0.9


def test_every_translator_gives_unit_vectors_of_the_direction_alone_and_the_same_ones_again() -> None:
    x = pairs().source
    for one, again in zip(fitted(), fitted(), strict=True):
        assert torch.allclose(one(x).norm(dim=1), torch.ones(len(x))), one.name
        assert torch.allclose(one(7 * x), one(x), atol=1e-5), one.name
        assert torch.equal(one(x), again(x)), one.name
        assert not one(x).requires_grad, one.name
    assert [one.trained_on for one in fitted()] == ["", "", "pairs", "pairs", "pairs"]


def test_nobody_elses_random_numbers_change() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    fitted()
    assert torch.equal(torch.rand(4), expected)


def test_an_adapter_begins_as_the_identity() -> None:
    x = torch.randn(5, DIM)
    assert torch.equal(Adapter(DIM, 3)(x), x)


def test_means_are_those_of_unit_vectors() -> None:
    source, target = pairs().means
    assert torch.allclose(source, functional.normalize(pairs().source).mean(0))
    assert torch.allclose(target, functional.normalize(pairs().target).mean(0))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (torch.ones(4, DIM), "as many rows on both sides"),
        (torch.ones(5, DIM + 1), "as many rows on both sides"),
        (torch.full((5, DIM), math.nan), "holds NaN or infinity"),
        (torch.zeros(5, DIM), "is zero and has no direction"),
    ],
    ids=["rows", "width", "nan", "zero"],
)
def test_pairs_that_are_none(source: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingPairs(source, torch.ones(5, DIM))
    with pytest.raises(ValueError, match="at least one"):
        TrainingPairs(torch.ones(0, DIM), torch.ones(0, DIM))
