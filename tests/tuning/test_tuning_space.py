"""Places and values are functions of seed and number, and a space that does not fit its config is told so at once."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from mien.errors import ConfigError
from mien.losses.weights import Anchors
from mien.training.job import TrainConfig
from mien.tuning.dimensions import (
    ChoiceConfig,
    CurveConfig,
    Dimension,
    GridConfig,
    LogUniformConfig,
    SimplexConfig,
    UniformConfig,
)
from mien.tuning.space import Space, apply, known_keys, problems
from mien.tuning.synthetic import SyntheticConfig

TRAIN = TrainConfig(dataset="dataset")
RATE = LogUniformConfig(low=1e-5, high=1e-2)
WEIGHT = CurveConfig(low=0.1, high=1, shape="falling", warmup_steps=5)
UNIT = UniformConfig(low=0, high=1)


def test_a_trial_is_the_same_whoever_draws_it_and_whatever_else_is_searched() -> None:
    alone, beside = Space({"a": UNIT}, 7), Space({"b": WEIGHT, "a": UNIT, "c": GridConfig(values=(1, 2))}, 7)
    assert [alone.sample(n)["a"] for n in (5, 0, 5)] == [beside.sample(n)["a"] for n in (5, 0, 5)]
    assert alone.sample(0) != Space({"a": UNIT}, 8).sample(0)
    values = [alone.sample(n)["a"] for n in range(200)]
    assert stats.kstest(values, "uniform").pvalue > 0.01
    both = np.array([list(Space({"a": UNIT, "d": UNIT}, 7).sample(n).values()) for n in range(200)])
    assert abs(np.corrcoef(both.T)[0, 1]) < 0.2


def test_grids_are_walked_through_and_others_drawn_beside() -> None:
    space = Space({"a": GridConfig(values=("x", "y")), "b": UNIT, "c": GridConfig(values=(1, 2, 3))})
    trials = [space.sample(n) for n in range(12)]
    assert space.grid_size == 6
    assert [(trial["a"], trial["c"]) for trial in trials] == [*product("xy", (1, 2, 3))] * 2
    assert len({trial["b"] for trial in trials}) == 12


def test_a_place_names_every_number_and_gives_the_values() -> None:
    space = Space({"w": WEIGHT, "group": SimplexConfig(keys=("a", "b", "c"))})
    place = space.place(3)
    assert tuple(place) == space.coordinates == ("w.initial", "w.warmup", "w.final", "a", "b")
    assert space.values(place) == space.sample(3)
    assert space.values(dict.fromkeys(place, 1.0))["a"] == pytest.approx(1), "what a searcher may propose"


def test_a_move_stays_within_and_near_or_is_drawn_anew() -> None:
    space = Space({"a": UNIT, "b": UNIT, "g": GridConfig(values=(1, 2))})
    start = {"a": 0.02, "b": 0.5, "g": 0.75}
    moves = [space.moved(start, n, spread=0.1, resample=0.0) for n in range(200)]
    assert {move["g"] for move in moves} == {0.75}
    assert stats.kstest([move["b"] for move in moves], "norm", (0.5, 0.1)).pvalue > 0.01
    assert stats.kstest([move["a"] for move in moves], lambda x: _folded(x, 0.02, 0.1)).pvalue > 0.01
    assert min(move["a"] for move in moves) >= 0
    far = [space.moved(start, n, spread=3.0, resample=0.0)["b"] for n in range(200)]
    assert 0 <= min(far) < max(far) < 1
    fresh = [space.moved(start, n, spread=0.1, resample=1.0)["b"] for n in range(200)]
    assert stats.kstest(fresh, "uniform").pvalue > 0.01
    assert space.moved(start, 3, spread=0.1, resample=0.5) == space.moved(start, 3, spread=0.1, resample=0.5)


def _folded(x: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Distribution of a normal number that is reflected at zero."""
    return stats.norm.cdf(x, mean, std) - stats.norm.cdf(-x, mean, std)


def test_drawn_values_become_a_training() -> None:
    drawn = {"optimizer.learning_rate.final": 3e-7, "objective.weights.temporal": WEIGHT.at("w", [0, 0.5, 1])["w"]}
    config = apply(TRAIN, drawn)
    assert config.optimizer.learning_rate == Anchors(initial=5e-5, warmup=5e-5, final=3e-7)
    assert config.objective.weights.temporal == Anchors(initial=1, warmup=0.55, final=0.1, warmup_steps=5)
    assert config.objective.weights.diversity == TRAIN.objective.weights.diversity
    with pytest.raises(ConfigError, match=r"^trial: batch\.size: "):
        apply(TRAIN, {"batch.size": 0})


def test_keys_of_the_kind_that_is_there_are_known_and_those_below_null() -> None:
    keys = known_keys(TRAIN)
    assert {"objective.weights.temporal", "optimizer.learning_rate.final", "ema", "ema.decay"} <= keys
    assert not {"optimizer.learning_rate.peak", "objective.network", "optimizer.rate"} & keys


@pytest.mark.parametrize(
    ("space", "line"),
    [
        ({}, "space: is empty; name a key of the config, and what is drawn for it"),
        (
            {"optimizer.learning_rat": RATE},
            "space.optimizer.learning_rat: no such key; did you mean optimizer.learning_rate?",
        ),
        (
            {"optimizer.learning_rate.peak": RATE},
            "space.optimizer.learning_rate.peak: belongs to another kind than the config has; change the kind there, "
            "or search another key",
        ),
        ({"g": SimplexConfig(keys=("seed", "zzz"))}, "space.zzz: no such key"),
        (
            {"batch.size": UniformConfig(low=1, high=4)},
            "space.batch.size: input should be a valid integer, got a number with a fractional part (got 2.11)",
        ),
        (
            {"batch.size": ChoiceConfig(values=(1, "x"))},
            "space.batch.size: input should be a valid integer, unable to parse string as an integer (got 'x')",
        ),
        ({"ema.decay": UniformConfig(low=0.5, high=1.5)}, "space.ema.decay: input should be less than 1 (got 1.5)"),
        ({"batch.size": WEIGHT}, "space.batch.size: input should be a valid integer"),
        (
            {"optimizer.kind": ChoiceConfig(values=("adam", "sgd"))},
            "space.optimizer.kind: input should be 'adamw' or 'adam' (got 'sgd')",
        ),
        (
            {"optimizer.beta_1": UNIT, "x": SimplexConfig(keys=("optimizer.beta_1", "optimizer.eps"))},
            "space.optimizer.beta_1: is drawn twice, also as optimizer.beta_1; leave one of them out",
        ),
        (
            {"objective.expression.embed_dim": ChoiceConfig(values=(128,))},
            "space.objective.expression.embed_dim: objective: embed_dim is 128 in expression and 384 in "
            "reconstruction; give both the same",
        ),
    ],
)
def test_what_would_fail_in_some_trial_is_told_by_one_line(space: dict[str, Dimension], line: str) -> None:
    assert line in list(problems(space, TRAIN))


def test_every_fault_is_told_and_a_good_space_has_none() -> None:
    assert len(list(problems({"a": UNIT, "b": UNIT, "batch.size": UNIT}, TRAIN))) == 3
    space = {
        "optimizer.learning_rate": RATE,
        "objective.weights.temporal": WEIGHT,
        "ema.decay": UniformConfig(low=0.5, high=0.99),
    }
    assert list(problems(space, TRAIN)) == []
    assert list(problems({"weights.first": WEIGHT, "learning_rate": RATE}, SyntheticConfig())) == []
