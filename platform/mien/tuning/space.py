"""A search space over the keys of any config: checked against it when it is loaded, and drawn without a state."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch

from mien import draws
from mien.config import Config, assign, dotted_keys, flatten, no_such_key
from mien.errors import ConfigError
from mien.tuning.dimensions import Dimension, GridConfig, overlapping

Place = dict[str, float]
"""A point of a space: name of a coordinate -> number in [0, 1). What searchers propose and populations move."""

SearchedConfig = TypeVar("SearchedConfig", bound=Config)

_TRIAL = "trial"
_LARGEST = math.nextafter(1, 0)


class Space:
    """Places of a space by trial number, and what they mean."""

    def __init__(self, dimensions: Mapping[str, Dimension], seed: int = 0) -> None:
        """A space whose trial `n` is the same on every machine, whatever was drawn before.

        Args:
            dimensions: Key, or name of a group -> what is drawn.
            seed: Of all draws.
        """
        self.dimensions, self.seed = dict(dimensions), seed
        self._grids = {name: each for name, each in self.dimensions.items() if isinstance(each, GridConfig)}

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of all numbers that make a place."""
        return tuple(name for key, dimension in self.dimensions.items() for name in dimension.coordinates(key))

    @property
    def grid_size(self) -> int:
        """Points of the product of all grids; 1 without one."""
        return math.prod(len(grid.values) for grid in self._grids.values())

    def sample(self, number: int) -> dict[str, Any]:
        """Dotted key -> value of trial `number`, by random search and along the grids."""
        return self.values(self.place(number))

    def place(self, number: int) -> Place:
        """Where trial `number` lies: a coordinate's number depends on its name alone, not on what else is searched."""
        return self._drawn(number, "place") | self._grid_place(number)

    def values(self, place: Mapping[str, float]) -> dict[str, Any]:
        """Dotted key -> value at a place."""
        found = dict[str, Any]()
        for key, dimension in self.dimensions.items():
            found |= dimension.at(key, [min(place[name], _LARGEST) for name in dimension.coordinates(key)])
        return found

    def moved(self, place: Mapping[str, float], number: int, *, spread: float, resample: float) -> Place:
        """A place near another, as a population explores (Jaderberg et al. 2017): grids stay where they are.

        Args:
            place: Where a good trial lies.
            number: Of the move, over all trials.
            spread: Standard deviation of the step, as a share of each range; it is reflected at the bounds.
            resample: Probability that a coordinate is drawn anew.
        """
        fresh, coins = self._drawn(number, "fresh"), self._drawn(number, "coin")
        near = {name: _reflected(place[name] + spread * step) for name, step in self._drawn(number, "step").items()}
        moved = {name: fresh[name] if coins[name] < resample else near[name] for name in near}
        return moved | {name: place[name] for name in self._grids}

    def _drawn(self, number: int, what: str) -> Place:
        draw = draws.normal if what == "step" else draws.uniform
        index = torch.tensor([number])
        return {
            name: draw(draws.keys(self.seed, f"tuning/{what}/{name}", index), dtype=torch.float64).item()
            for name in self.coordinates
        }

    def _grid_place(self, number: int) -> Place:
        place = Place()
        for name, grid in reversed(self._grids.items()):
            number, index = divmod(number, len(grid.values))
            place[name] = grid.unit_of(index)
        return place


def apply(base: SearchedConfig, drawn: Mapping[str, Any], origin: str = _TRIAL) -> SearchedConfig:
    """A config with some keys set; the searched one may be of any class.

    Raises:
        ConfigError: Values do not fit; `origin` is what the message calls them.
    """
    values = base.dump()
    for key, value in drawn.items():
        assign(values, key, value)
    return type(base).parse(values, origin)


def known_keys(base: Config) -> set[str]:
    """Dotted keys that can be set in a config as it stands: those of its kinds, and those below what is null."""
    found = set[str]()
    for key, value in flatten(base.dump()):
        parts = key.split(".")
        found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        if value is None:
            found |= {other for other in dotted_keys(type(base)) if other.startswith(f"{key}.")}
    return found


def problems(dimensions: Mapping[str, Dimension], base: Config) -> Iterator[str]:
    """One line for each thing that would fail in some trial."""
    if not dimensions:
        yield "space: is empty; name a key of the config, and what is drawn for it"
    known = known_keys(base)
    for name, dimension in dimensions.items():
        unknown = [key for key in dimension.targets(name) if key not in known]
        if unknown:
            yield from (f"space.{_unknown(key, known, base)}" for key in unknown)
        else:
            yield from _misfits(name, dimension, base)
    for left, right in overlapping(dimensions):
        yield f"space.{right}: is drawn twice, also as {left}; leave one of them out"


def _unknown(key: str, known: set[str], base: Config) -> str:
    if key in dotted_keys(type(base)):
        return f"{key}: belongs to another kind than the config has; change the kind there, or search another key"
    return no_such_key(key, known)


def _misfits(name: str, dimension: Dimension, base: Config) -> Iterator[str]:
    """What the config says of the first value that it does not accept."""
    for units in dimension.probes(name):
        try:
            apply(base, dimension.at(name, units))
        except ConfigError as error:
            for line in str(error).splitlines():
                reason = line.removeprefix(f"{_TRIAL}: ")
                yield f"space.{reason}" if reason.startswith(name) else f"space.{name}: {reason}"
            return


def _reflected(unit: float) -> float:
    folded = abs(unit) % 2
    return min(_LARGEST, 2 - folded if folded > 1 else folded)
