"""The config that a sweep ends with: that of its best trial, with the curves that its weights followed."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mien.errors import ConfigError
from mien.losses.weights import Schedule
from mien.tuning.desk import Stretch
from mien.tuning.job import TuneConfig

_SCHEDULE: TypeAdapter[Schedule] = TypeAdapter(Schedule)


def values_of(config: TuneConfig, way: Sequence[Stretch], num_steps: int) -> dict[str, Any]:
    """Dotted key -> value that repeats the way of a trial: of one that moved, curves through all it had on the way.

    Args:
        config: Of the sweep.
        way: From the first step on.
        num_steps: Of a whole training.
    """
    last = way[-1].run.values
    if len(way) == 1:
        return last
    followed = {key: _followed([stretch.run.values[key] for stretch in way], way, num_steps) for key in last}
    return {key: value if _fits(config, key, value) else last[key] for key, value in followed.items()}


def _followed(values: Sequence[Any], way: Sequence[Stretch], num_steps: int) -> Any:
    """One curve of the curves that were followed one after the other; a value that is none stays as it was last."""
    try:
        curves = [_SCHEDULE.validate_python(value) for value in values]
    except ValidationError:
        return values[-1]
    bounds = [0, *(stretch.run.donor.step for stretch in way if stretch.run.donor), num_steps]
    points = dict[int, float]()
    for curve, stretch, (first, end) in zip(curves, way, pairwise(bounds), strict=True):
        steps = {first, *(told.step for told in stretch.told if told.step < end), end - 1}
        points |= {step: curve.value(step, num_steps) for step in sorted(steps) if first <= step < end}
    return {"kind": "piecewise", "points": [[step, value] for step, value in sorted(points.items())]}


def _fits(config: TuneConfig, key: str, value: Any) -> bool:
    """Whether a key takes a curve."""
    try:
        config.trial({key: value}, "")
    except ConfigError:
        return False
    return True
