"""Every kind of pacing, by its `kind`, and the simplest of them."""

from typing import Annotated, Literal

from pydantic import Field

from mien.config import Config
from mien.diffusion.clusters import FixedFractionConfig, TaskDifficultyConfig
from mien.diffusion.curriculum import CurriculumConfig
from mien.diffusion.loss_aware import LossAwareConfig
from mien.diffusion.pacing import Pacing, Progress, Stage, uniform_stage


class UniformConfig(Config):
    """Every timestep alike from beginning to end (Ho et al. 2020)."""

    kind: Literal["uniform"] = "uniform"
    """Kind of pacing."""

    def build(self, num_steps: int) -> "Uniform":
        """The pacing over `num_steps` timesteps."""
        return Uniform(num_steps)


class Uniform(Pacing):
    """One stage."""

    def __init__(self, num_steps: int) -> None:
        """Over the timesteps 0 … num_steps - 1."""
        self._stage = uniform_stage("uniform", 0, num_steps, num_steps)

    def stage_at(self, progress: Progress) -> Stage:
        """Always the same."""
        del progress
        return self._stage


TimestepsConfig = Annotated[
    UniformConfig | CurriculumConfig | FixedFractionConfig | TaskDifficultyConfig | LossAwareConfig,
    Field(discriminator="kind"),
]
