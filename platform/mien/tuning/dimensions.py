"""What one line of a search space draws: a map from numbers in [0, 1) to values of config keys.

Random search, a searcher that learns and a population that moves about all think in those numbers, so that each of them
knows every kind, simplexes and whole curves included.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mien.config import Config
from mien.losses.weights import Finite

Units = Sequence[float]
"""One number in [0, 1) per coordinate of a dimension."""

_PROBES = (0.0, 0.37, math.nextafter(1, 0))
"""Where a dimension is tried before it is used: both ends, and a place at which no whole number lies."""


class Dimension(Config):
    """One key, or a group of keys that are drawn together."""

    def targets(self, name: str) -> tuple[str, ...]:
        """Dotted keys that are set; the name is the key where there is one."""
        return (name,)

    def coordinates(self, name: str) -> tuple[str, ...]:
        """Names of the numbers in [0, 1) that decide the value."""
        return (name,)

    def at(self, name: str, units: Units) -> dict[str, Any]:
        """Dotted key -> value at those numbers, uniform ones giving the distribution of the kind."""
        raise NotImplementedError

    def probes(self, name: str) -> list[Units]:
        """Places whose values the config must accept."""
        return [[probe] * len(self.coordinates(name)) for probe in _PROBES]


class _Bounded(Dimension):
    """Numbers between two bounds."""

    low: Finite
    """Least value."""
    high: Finite
    """Greatest value."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low={self.low:g} must be below high={self.high:g}")
        return self


class UniformConfig(_Bounded):
    """Every number between the bounds alike."""

    kind: Literal["uniform"] = "uniform"
    """Kind of dimension."""

    def at(self, name: str, units: Units) -> dict[str, Any]:
        """One number."""
        return {name: _between(self.low, self.high, units[0])}


class LogUniformConfig(_Bounded):
    """Every order of magnitude between the bounds alike."""

    kind: Literal["loguniform"] = "loguniform"
    """Kind of dimension."""
    low: float = Field(gt=0, allow_inf_nan=False)
    """Least value."""

    def at(self, name: str, units: Units) -> dict[str, Any]:
        """One number."""
        return {name: _between(self.low, self.high, units[0], is_log=True)}


class QuniformConfig(_Bounded):
    """Every level low, low + step, … up to `high` alike; whole numbers where `low` and `step` are whole."""

    kind: Literal["quniform"] = "quniform"
    """Kind of dimension."""
    step: float = Field(gt=0, allow_inf_nan=False)
    """From one level to the next."""

    @model_validator(mode="after")
    def _has_levels(self) -> Self:
        if self.num_levels < 2:
            raise ValueError(f"step={self.step:g} is larger than high - low, so that there is one level")
        return self

    @property
    def num_levels(self) -> int:
        """Values that can be drawn."""
        return math.floor((self.high - self.low) / self.step + 1e-9) + 1  # 0.3 / 0.1 is 2.9…

    def at(self, name: str, units: Units) -> dict[str, Any]:
        """One level."""
        value = round(self.low + self.step * math.floor(units[0] * self.num_levels), 12)  # 0.1 + 0.2 is 0.30…04
        is_whole = self.low.is_integer() and self.step.is_integer()
        return {name: int(value) if is_whole else value}


class _Listed(Dimension):
    """One of some values."""

    values: tuple[Any, ...] = Field(min_length=1)
    """Numbers, words, or whole parts of a config."""

    def at(self, name: str, units: Units) -> dict[str, Any]:
        """One of the values."""
        return {name: self.values[math.floor(units[0] * len(self.values))]}

    def probes(self, name: str) -> list[Units]:  # noqa: ARG002  the signature of all kinds
        """Every value."""
        return [[self.unit_of(index)] for index in range(len(self.values))]

    def unit_of(self, index: int) -> float:
        """The middle of the numbers that stand for a value."""
        return (index + 0.5) / len(self.values)


class ChoiceConfig(_Listed):
    """Every value alike."""

    kind: Literal["choice"] = "choice"
    """Kind of dimension."""


class GridConfig(_Listed):
    """One value after the other: trials walk through the product of all grids, the last one fastest."""

    kind: Literal["grid"] = "grid"
    """Kind of dimension."""


class SimplexConfig(Dimension):
    """Several keys, none below zero, that have one sum; every such group alike. Its own key is but a name."""

    kind: Literal["simplex"] = "simplex"
    """Kind of dimension."""
    keys: tuple[str, ...] = Field(min_length=2)
    """Dotted keys of the group."""
    total: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Sum."""

    def targets(self, name: str) -> tuple[str, ...]:  # noqa: ARG002  the signature of all kinds
        """The members."""
        return self.keys

    def coordinates(self, name: str) -> tuple[str, ...]:  # noqa: ARG002
        """One less than members: the last one is what the others leave."""
        return self.keys[:-1]

    def at(self, name: str, units: Units) -> dict[str, Any]:  # noqa: ARG002
        """Shares broken off a stick one after the other (Devroye 1986, chapter XI, theorem 4.2 for Dirichlet(1))."""
        left, drawn = self.total, dict[str, Any]()
        for number, (key, unit) in enumerate(zip(self.keys, units, strict=False), start=1):
            drawn[key] = left * (1 - (1 - unit) ** (1 / (len(self.keys) - number)))
            left -= drawn[key]
        return drawn | {self.keys[-1]: left}


class CurveConfig(_Bounded):
    """A whole curve over the steps: the three anchors of a weight or a learning rate."""

    kind: Literal["schedule"] = "schedule"
    """Kind of dimension."""
    log: bool = False
    """Orders of magnitude alike, in place of numbers."""
    shape: Literal["free", "rising", "falling"] = "free"
    """Whether the curve may turn."""
    warmup_steps: int = Field(3000, ge=0)
    """Steps from the first anchor to the second; not searched."""

    @model_validator(mode="after")
    def _has_logarithms(self) -> Self:
        if self.log and self.low <= 0:
            raise ValueError(f"low={self.low:g} has no logarithm; make it greater than 0, or log false")
        return self

    def coordinates(self, name: str) -> tuple[str, ...]:
        """One per anchor."""
        return tuple(f"{name}.{anchor}" for anchor in ("initial", "warmup", "final"))

    def at(self, name: str, units: Units) -> dict[str, Any]:
        """Anchors as plain values, in order where the curve does not turn."""
        drawn = [_between(self.low, self.high, unit, self.log) for unit in units]
        if self.shape != "free":
            drawn.sort(reverse=self.shape == "falling")
        anchors = dict(zip(("initial", "warmup", "final"), drawn, strict=True))
        return {name: {"kind": "anchors", **anchors, "warmup_steps": self.warmup_steps}}


DimensionConfig = Annotated[
    UniformConfig | LogUniformConfig | QuniformConfig | ChoiceConfig | GridConfig | SimplexConfig | CurveConfig,
    Field(discriminator="kind"),
]
"""Every kind of dimension."""

SpaceConfig = dict[str, DimensionConfig]
"""Dotted key, or name of a group -> what is drawn."""


def overlapping(space: Mapping[str, Dimension]) -> list[tuple[str, str]]:
    """Pairs of keys, of which the second would overwrite the first or a part of it."""
    keys = sorted(key for name, dimension in space.items() for key in dimension.targets(name))
    return [(left, right) for left, right in pairwise(keys) if f"{right}.".startswith(f"{left}.")]


def _between(low: float, high: float, unit: float, is_log: bool = False) -> float:
    if is_log:
        return min(high, max(low, math.exp(_between(math.log(low), math.log(high), unit))))
    return low + (high - low) * unit
