"""A fixed list of stages, each with its range (hard) or its Beta distribution (soft) of timesteps."""

import math
from itertools import accumulate
from typing import Annotated, Literal, Self

import torch
from jaxtyping import Float64
from pydantic import Field, model_validator
from torch import Tensor

from mien.config import Config
from mien.diffusion.pacing import Pacing, Progress, Stage, uniform_stage

Numbers = Float64[Tensor, "n"]


class StageConfig(Config):
    """One stage."""

    length: int = Field(ge=1)
    """Epochs or steps, by the `unit` of the curriculum."""

    t_min: float = Field(0.0, ge=0, le=1)
    """Lowest noise as a share of all timesteps; for `hard`."""

    t_max: float = Field(1.0, ge=0, le=1)
    """Highest noise as a share of all timesteps, exclusive; for `hard`."""

    alpha: float = Field(1.0, gt=0, le=1000)
    """First shape of the Beta distribution, large for much noise; for `soft`."""

    beta: float = Field(1.0, gt=0, le=1000)
    """Second shape of the Beta distribution, large for little noise; for `soft`."""

    name: str = ""
    """Shown in logs and figures; empty for `stage1`, `stage2` and so on."""

    @model_validator(mode="after")
    def _has_a_range(self) -> Self:
        if self.t_min >= self.t_max:
            raise ValueError(f"t_min={self.t_min} must be below t_max={self.t_max}: the stage has no timestep")
        return self


class CurriculumConfig(Config):
    """Stages by epoch or step, from coarse to fine or the other way round."""

    kind: Literal["hard", "soft"] = "hard"
    """`hard` draws uniformly within the range of the stage, `soft` from its Beta distribution over all timesteps."""

    unit: Literal["epoch", "step"] = "epoch"
    """What the lengths count."""

    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1)]
    """One after the other: where one ends the next begins, so that they neither overlap nor leave a gap."""

    def build(self, num_steps: int) -> "Curriculum":
        """The curriculum over `num_steps` timesteps."""
        return Curriculum(self, num_steps)


class Curriculum(Pacing):
    """Looks up stages; keeps no state."""

    def __init__(self, config: CurriculumConfig, num_steps: int) -> None:
        """All stages, over the timesteps 0 … num_steps - 1."""
        self.config = config
        self.ends = list(accumulate(stage.length for stage in config.stages))
        make = _hard if config.kind == "hard" else _soft
        self.stages = [
            make(stage, stage.name or f"stage{number}", num_steps)
            for number, stage in enumerate(config.stages, start=1)
        ]

    def stage_at(self, progress: Progress) -> Stage:
        """The stage by finished epochs or steps.

        Raises:
            ValueError: The last stage is over.
        """
        done = progress.epoch if self.config.unit == "epoch" else progress.step
        self.check_length(done + 1)
        return next(stage for stage, end in zip(self.stages, self.ends, strict=True) if done < end)

    def check_length(self, total: int) -> None:
        """Refuse a training of `total` epochs or steps that is longer than the stages.

        Raises:
            ValueError: The stages end before the training does.
        """
        if self.ends[-1] < total:
            unit = self.config.unit
            raise ValueError(
                f"the stages of the curriculum end after {self.ends[-1]} {unit}s, before a training of {total} does; "
                "lengthen the last one"
            )


def _hard(stage: StageConfig, name: str, num_steps: int) -> Stage:
    """At least one timestep, however small the range."""
    low, high = (math.floor(share * num_steps + 1e-9) for share in (stage.t_min, stage.t_max))  # 0.57 · 100 is 56.99…
    low = min(low, num_steps - 1)
    return uniform_stage(name, low, max(high, low + 1), num_steps)


def _soft(stage: StageConfig, name: str, num_steps: int) -> Stage:
    """Timesteps ⌊Beta · (T - 1)⌋, so that the last one is never drawn."""
    edges = torch.linspace(0, 1, num_steps, dtype=torch.float64)
    shares = incomplete_beta(edges, stage.alpha, stage.beta).diff()
    return Stage(name, torch.cat([shares.clamp(min=0), shares.new_zeros(1)]))


def incomplete_beta(x: Numbers, a: float, b: float) -> Numbers:
    """Cumulative Beta distribution at 0 ≤ x ≤ 1, which torch does not have (Press et al. 2007, section 6.4)."""
    swapped = x > (a + 1) / (a + b + 2)  # where the fraction would converge slowly, the other tail does not
    p, q = torch.full_like(x, a), torch.full_like(x, b)
    p, q, y = torch.where(swapped, q, p), torch.where(swapped, p, q), torch.where(swapped, 1 - x, x)
    log_factor = torch.xlogy(p, y) + torch.xlogy(q, 1 - y) - math.lgamma(a) - math.lgamma(b) + math.lgamma(a + b)
    tail = log_factor.exp() * _continued_fraction(y, p, q) / p
    return torch.where(swapped, 1 - tail, tail)


def _continued_fraction(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Lentz's method; 200 terms are more than shapes up to 1000 need on the near side of the mean."""
    c = torch.ones_like(x)
    d = 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 200):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 / (1 + term * d), 1 + term / c
            value = value * c * d
    return value
