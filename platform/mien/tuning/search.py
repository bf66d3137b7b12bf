"""Who proposes the trials of a sweep, and who stops and copies them: what can be chosen, and Ray Tune's part of it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from mien.analysis.trials import Direction
from mien.config import Config
from mien.tuning.space import Place, Space

STEP, REPORT = "step", "report"
"""By which trials are compared: optimiser steps, and reports; both grow whatever happens to a process."""


class Goal(NamedTuple):
    """What is sought, and how long a whole trial is."""

    metrics: dict[str, Direction]
    num_steps: int
    num_reports: int
    space: Space

    @property
    def first(self) -> dict[str, str]:
        """The metric that decides, in Ray's words."""
        name, direction = next(iter(self.metrics.items()))
        return {"metric": name, "mode": mode(direction)}


def mode(direction: Direction) -> str:
    """A direction in Ray's words."""
    return "min" if direction == "lowest" else "max"


class RandomSearchConfig(Config):
    """Every trial drawn by its number; grids are walked through."""

    kind: Literal["random"] = "random"
    """Kind of searcher."""


class GridSearchConfig(Config):
    """The product of all grids, once."""

    kind: Literal["grid"] = "grid"
    """Kind of searcher."""


class OptunaSearchConfig(Config):
    """Trials proposed by what earlier ones found (Akiba et al. 2019); of several metrics it seeks the Pareto front."""

    kind: Literal["optuna"] = "optuna"
    """Kind of searcher."""
    num_startup: int = Field(10, ge=1)
    """Trials that are drawn at random first."""

    def build(self, goal: Goal, places: Sequence[Place]) -> Any:
        """Its part in Ray Tune.

        Args:
            goal: What is sought.
            places: Of the trials that were begun before, which it proposes again first.
        """
        from mien.tuning.proposals import proposals

        return proposals(goal, places, self.num_startup)


SearcherConfig = Annotated[RandomSearchConfig | GridSearchConfig | OptunaSearchConfig, Field(discriminator="kind")]
"""Who proposes configs."""


class _WholeTrials(Config):
    """Nobody is stopped; or nobody knows beforehand how many are."""

    def share(self, goal: Goal) -> float:  # noqa: ARG002  the signature of all kinds
        """Steps that are done of those of all trials."""
        return 1.0


class FifoConfig(_WholeTrials):
    """Every trial runs to its end."""

    kind: Literal["fifo"] = "fifo"
    """Kind of scheduler."""

    def build(self, goal: Goal) -> Any:  # noqa: ARG002  the signature of all kinds
        """Its part in Ray Tune."""
        from ray.tune.schedulers import FIFOScheduler

        return FIFOScheduler()


class AshaConfig(Config):
    """At each rung the worst are stopped, without waiting for the others (Li et al. 2020)."""

    kind: Literal["asha"] = "asha"
    """Kind of scheduler."""
    grace_steps: int = Field(ge=1)
    """First rung: nobody is stopped before. The next ones are `reduction_factor` times as far each."""
    reduction_factor: float = Field(3.0, gt=1, le=100)
    """Of so many trials one goes on from a rung."""

    def share(self, goal: Goal) -> float:
        """Steps that are done of those of all trials, where each rung lets through what it is to let through."""
        rungs, going = [0.0, float(self.grace_steps)], 1.0
        while rungs[-1] < goal.num_steps:
            rungs.append(min(goal.num_steps, rungs[-1] * self.reduction_factor))
        done = 0.0
        for before, rung in pairwise(rungs):
            done, going = done + going * (rung - before), going / self.reduction_factor
        return done / goal.num_steps

    def build(self, goal: Goal) -> Any:
        """Its part in Ray Tune."""
        from ray.tune.schedulers import ASHAScheduler

        return ASHAScheduler(
            time_attr=STEP,
            max_t=goal.num_steps,
            grace_period=self.grace_steps,
            reduction_factor=self.reduction_factor,
            **goal.first,
        )


class HyperbandConfig(_WholeTrials):
    """Brackets of successive halving with different first rungs, which wait until all are there (Li et al. 2018)."""

    kind: Literal["hyperband"] = "hyperband"
    """Kind of scheduler."""
    reduction_factor: float = Field(3.0, gt=1, le=100)
    """Of so many trials one goes on from a rung."""

    def build(self, goal: Goal) -> Any:
        """Its part in Ray Tune; its brackets begin with one report."""
        from ray.tune.schedulers import HyperBandScheduler

        return HyperBandScheduler(
            time_attr=REPORT, max_t=goal.num_reports, reduction_factor=self.reduction_factor, **goal.first
        )


class PopulationConfig(_WholeTrials):
    """Bad trials go on from the checkpoint of good ones, with moved values."""

    every_steps: int = Field(ge=1)
    """Steps between two comparisons."""
    quantile: float = Field(0.25, gt=0, le=0.5)
    """Share of the trials that copies, and share that is copied."""

    def compared(self, goal: Goal) -> dict[str, Any]:
        """What populations of Ray Tune are told alike."""
        return {
            "time_attr": STEP,
            "perturbation_interval": self.every_steps,
            "quantile_fraction": self.quantile,
            "log_config": False,
            **goal.first,
        }


class PbtConfig(PopulationConfig):
    """Values are moved at random (Jaderberg et al. 2017)."""

    kind: Literal["pbt"] = "pbt"
    """Kind of scheduler."""
    resample: float = Field(0.25, ge=0, le=1)
    """Probability that a value is drawn anew in place of moved."""
    spread: float = Field(0.1, gt=0, le=1)
    """Standard deviation of a move, as a share of the range."""

    def build(self, goal: Goal) -> Any:
        """Its part in Ray Tune."""
        from mien.tuning.populations import Pbt

        return Pbt(goal.space, self.spread, self.resample, **self.compared(goal))


class Pb2Config(PopulationConfig):
    """Values are moved to where a Gaussian process expects the fastest progress (Parker-Holder et al. 2020)."""

    kind: Literal["pb2"] = "pb2"
    """Kind of scheduler."""

    def build(self, goal: Goal) -> Any:
        """Its part in Ray Tune."""
        from mien.tuning.populations import Pb2

        return Pb2(goal.space, **self.compared(goal))


SchedulerConfig = Annotated[
    FifoConfig | AshaConfig | HyperbandConfig | PbtConfig | Pb2Config, Field(discriminator="kind")
]
"""Who stops and copies trials."""
