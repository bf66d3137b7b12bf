"""What each kind draws, against the laws of its distribution."""

import math
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from mien.losses.weights import Anchors
from mien.tuning.dimensions import (
    ChoiceConfig,
    CurveConfig,
    Dimension,
    DimensionConfig,
    GridConfig,
    LogUniformConfig,
    QuniformConfig,
    SimplexConfig,
    UniformConfig,
    overlapping,
)

RNG = np.random.default_rng(0)
UNITS = RNG.random((2000, 3))
LAST = math.nextafter(1, 0)


def drawn(dimension: Dimension, name: str = "key") -> list[dict[str, Any]]:
    num = len(dimension.coordinates(name))
    return [dimension.at(name, units[:num]) for units in UNITS.tolist()]


def test_a_uniform_fills_its_range_evenly() -> None:
    values = [each["key"] for each in drawn(UniformConfig(low=-2, high=3))]
    assert stats.kstest(values, "uniform", (-2, 5)).pvalue > 0.01


def test_a_loguniform_fills_the_orders_of_magnitude_and_stays_within() -> None:
    dimension = LogUniformConfig(low=1e-5, high=1e-1)
    values = [each["key"] for each in drawn(dimension)]
    assert stats.kstest(values, "loguniform", (1e-5, 1e-1)).pvalue > 0.01
    assert dimension.at("key", [0.0]) == {"key": 1e-5}
    assert dimension.at("key", [LAST])["key"] <= 1e-1


@pytest.mark.parametrize(
    ("dimension", "levels"),
    [
        (QuniformConfig(low=2, high=9, step=3), [2, 5, 8]),
        (QuniformConfig(low=0.1, high=0.4, step=0.1), [0.1, 0.2, 0.3, 0.4]),
    ],
)
def test_every_level_is_as_likely_those_at_the_ends_too(dimension: QuniformConfig, levels: list[float]) -> None:
    values, counts = np.unique([each["key"] for each in drawn(dimension)], return_counts=True)
    assert values.tolist() == levels, "to the last digit"
    assert stats.chisquare(counts).pvalue > 0.01
    assert isinstance(dimension.at("key", [0.5])["key"], type(levels[0]))


@pytest.mark.parametrize("kind", [ChoiceConfig, GridConfig])
def test_every_listed_value_is_as_likely(kind: type[ChoiceConfig | GridConfig]) -> None:
    dimension = kind(values=("adam", 3, {"kind": "constant", "level": 1}))
    counts = [sum(each["key"] == value for each in drawn(dimension)) for value in dimension.values]
    assert stats.chisquare(counts).pvalue > 0.01
    assert [dimension.at("key", [dimension.unit_of(n)])["key"] for n in range(3)] == list(dimension.values)


def test_a_simplex_is_dirichlets() -> None:
    dimension = SimplexConfig(keys=("a", "b", "c", "d"), total=2)
    rows = np.array([list(each.values()) for each in drawn(dimension, "group")])
    assert dimension.targets("group") == ("a", "b", "c", "d")
    np.testing.assert_allclose(rows.sum(axis=1), 2)
    assert rows.min() >= 0
    for share in rows.T / 2:  # each share of Dirichlet(1, 1, 1, 1) is Beta(1, 3)
        assert stats.kstest(share, "beta", (1, 3)).pvalue > 0.01
    assert np.corrcoef(rows.T)[0, 1] == pytest.approx(-1 / 3, abs=0.05)


@pytest.mark.parametrize(("shape", "sign"), [("rising", 1), ("falling", -1)])
def test_a_curve_that_may_not_turn_does_not(shape: Any, sign: int) -> None:
    dimension = CurveConfig(low=0.01, high=1, log=True, shape=shape, warmup_steps=50)
    curves = [Anchors.model_validate(each["key"]) for each in drawn(dimension)]
    rows = np.array([[curve.initial, curve.warmup, curve.final] for curve in curves])
    assert (np.diff(rows, axis=1) * sign >= 0).all()
    assert {curve.warmup_steps for curve in curves} == {50}
    assert stats.kstest(np.log10(rows[:, 1]), lambda x: stats.beta.cdf(1 + x / 2, 2, 2)).pvalue > 0.01, "of three"


def test_a_free_curve_turns_both_ways() -> None:
    rows = np.array([[each["key"][name] for name in ("initial", "warmup", "final")] for each in drawn(CURVE)])
    assert stats.kstest(rows.ravel(), "uniform", (-1, 2)).pvalue > 0.01
    turns = np.sign(np.diff(rows, axis=1)).prod(axis=1)
    assert (turns < 0).mean() == pytest.approx(2 / 3, abs=0.05), "of six orders of three numbers, four turn"


CURVE = CurveConfig(low=-1, high=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "uniform", "low": 2, "high": 2}, "low=2 must be below high=2"),
        ({"kind": "loguniform", "low": 0, "high": 2}, "greater than 0"),
        ({"kind": "quniform", "low": 0, "high": 2, "step": 3}, "there is one level"),
        ({"kind": "quniform", "low": 0, "high": 2, "step": 0}, "greater than 0"),
        ({"kind": "choice", "values": []}, "at least 1 item"),
        ({"kind": "simplex", "keys": ["a"]}, "at least 2 items"),
        ({"kind": "schedule", "low": 0, "high": 1, "log": True}, "low=0 has no logarithm"),
        ({"kind": "schedule", "low": 1, "high": 0}, "low=1 must be below high=0"),
        ({"kind": "schedule", "low": 0, "high": 1, "shape": "steep"}, "'free', 'rising' or 'falling'"),
        ({"kind": "uniform", "low": 0, "high": float("inf")}, "finite number"),
        ({"kind": "zip"}, "'zip'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(DimensionConfig).validate_python(given)


def test_keys_that_would_overwrite_each_other_are_found() -> None:
    space = {
        "w.a": CURVE,
        "w.a.final": UniformConfig(low=0, high=1),
        "w.ab": CURVE,
        "x": SimplexConfig(keys=("w.ab", "y")),
    }
    assert overlapping(space) == [("w.a", "w.a.final"), ("w.ab", "w.ab")]
