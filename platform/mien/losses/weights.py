"""Numbers that change with the step of the optimiser: learning rates and weights of losses.

The value at a step is a pure function of the step and of how many there will be, so there is no state to save or to lag
behind. In YAML, `0.5` is a constant and `[0.01, 0.2, 0.5]` are anchors.
"""

import math
from bisect import bisect_right
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mien.config import Config

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Constant(Config):
    """The same at every step."""

    kind: Literal["constant"] = "constant"
    """Kind of schedule."""
    level: Finite
    """Value at every step."""

    def value(self, step: int, total_steps: int) -> float:  # noqa: ARG002  the signature of all kinds
        """Value at a step of `total_steps`."""
        return self.level


class Anchors(Config):
    """Three values: a line from the first to the second during warm-up, then one to the third at the last step."""

    kind: Literal["anchors"] = "anchors"
    """Kind of schedule."""
    initial: Finite
    """Value at step 0."""
    warmup: Finite
    """Value at the end of warm-up."""
    final: Finite
    """Value at the last step; a run that is no longer than its warm-up does not come near it."""
    warmup_steps: int = Field(3000, ge=0)
    """Steps of warm-up."""

    def value(self, step: int, total_steps: int) -> float:
        """Value at a step of `total_steps`."""
        if step < self.warmup_steps:
            return _between(self.initial, self.warmup, step / self.warmup_steps)
        return _between(self.warmup, self.final, _progress(step, total_steps, self.warmup_steps))


class Cosine(Config):
    """A line up during warm-up, then half a cosine down (Loshchilov and Hutter 2017, equation 5, without restarts)."""

    kind: Literal["cosine"] = "cosine"
    """Kind of schedule."""
    initial: Finite = 0.0
    """Value at step 0, where there is a warm-up."""
    peak: Finite
    """Value at the end of warm-up."""
    final: Finite = 0.0
    """Value at the last step."""
    warmup_steps: int = Field(0, ge=0)
    """Steps of warm-up."""

    def value(self, step: int, total_steps: int) -> float:
        """Value at a step of `total_steps`."""
        if step < self.warmup_steps:
            return _between(self.initial, self.peak, step / self.warmup_steps)
        progress = _progress(step, total_steps, self.warmup_steps)
        return _between(self.peak, self.final, (1 - math.cos(math.pi * progress)) / 2)


class Piecewise(Config):
    """Values at places; before the first place and after the last, the value there."""

    kind: Literal["piecewise"] = "piecewise"
    """Kind of schedule."""
    points: tuple[tuple[Finite, Finite], ...] = Field(min_length=1)
    """Place and value, places rising."""
    unit: Literal["step", "share"] = "step"
    """What a place is: a step, or a share of all steps from 0 to 1."""
    interpolation: Literal["linear", "step"] = "linear"
    """Between two places: a line, or the value of the earlier one."""

    @model_validator(mode="after")
    def _places_rise(self) -> "Piecewise":
        places = [place for place, _ in self.points]
        if sorted(set(places)) != places:
            raise ValueError(f"the places of points, {places}, do not rise; sort them, and name none twice")
        return self

    def value(self, step: int, total_steps: int) -> float:
        """Value at a step of `total_steps`."""
        place = step if self.unit == "step" else step / max(1, total_steps)
        after = bisect_right(self.points, place, key=lambda point: point[0])
        (left, before), (right, later) = self.points[max(0, after - 1)], self.points[min(after, len(self.points) - 1)]
        if left >= right or self.interpolation == "step":
            return before
        return _between(before, later, (place - left) / (right - left))


def _plain(given: Any) -> Any:
    """A number is a constant, three numbers are anchors."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return {"kind": "constant", "level": given}
    if isinstance(given, list | tuple) and len(given) == 3:
        return dict(zip(("initial", "warmup", "final"), given, strict=True)) | {"kind": "anchors"}
    return given


def _progress(step: int, total_steps: int, warmup_steps: int) -> float:
    """Share of the steps after warm-up that lie behind."""
    return min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))


def _between(left: float, right: float, share: float) -> float:
    return left + (right - left) * share


Schedule = Annotated[
    Annotated[Constant | Anchors | Piecewise | Cosine, Field(discriminator="kind")], BeforeValidator(_plain)
]
"""Every kind of schedule: `value(step, total_steps)`."""
