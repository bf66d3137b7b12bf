"""Curricula over clusters of timesteps: training begins with the noisiest cluster, and less noise is added to it.

Much noise is the easy end: low timesteps converge more slowly (Kim et al. 2024, arXiv 2403.10348).
"""

import math
from typing import Any, Literal

from pydantic import Field

from mien.config import Config
from mien.diffusion.pacing import Pacing, Progress, Stage, uniform_stage


class FixedFractionConfig(Config):
    """A cluster is added after each fixed share of the training."""

    kind: Literal["fixed_fraction"] = "fixed_fraction"
    """Kind of pacing."""

    num_clusters: int = Field(20, ge=1)
    """Equal parts of the timesteps."""

    full_at: float = Field(0.5, ge=0, le=1)
    """Share of the training after which all timesteps are drawn; the rest lets the weight average forget the stages."""

    def build(self, num_steps: int) -> "FixedFraction":
        """The pacing over `num_steps` timesteps."""
        return FixedFraction(self, num_steps)


class FixedFraction(Pacing):
    """Follows the share of the samples that were seen; keeps no state."""

    def __init__(self, config: FixedFractionConfig, num_steps: int) -> None:
        """All stages."""
        self.config = config
        self.stages = _stages(config.num_clusters, num_steps)

    def stage_at(self, progress: Progress) -> Stage:
        """Stages of one length until all timesteps are drawn."""
        if progress.fraction >= self.config.full_at:
            return self.stages[-1]
        return self.stages[int(progress.fraction / self.config.full_at * (len(self.stages) - 1))]


class TaskDifficultyConfig(Config):
    """A cluster is added when the loss of the stage no longer improves."""

    kind: Literal["task_difficulty"] = "task_difficulty"
    """Kind of pacing."""

    num_clusters: int = Field(20, ge=1)
    """Equal parts of the timesteps."""

    patience: int = Field(200, ge=1)
    """Evaluations without a better loss after which the next cluster is added."""

    def build(self, num_steps: int) -> "TaskDifficulty":
        """The pacing over `num_steps` timesteps."""
        return TaskDifficulty(self, num_steps)


class TaskDifficulty(Pacing):
    """Follows the loss of the stage; its state is plain values of JSON."""

    def __init__(self, config: TaskDifficultyConfig, num_steps: int) -> None:
        """At the first stage."""
        self.config = config
        self.stages = _stages(config.num_clusters, num_steps)
        self._stage = 0
        self._best: float | None = None
        self._num_waited = 0

    def stage_at(self, progress: Progress) -> Stage:
        """The stage that the losses led to, however far the training is."""
        del progress
        return self.stages[self._stage]

    def observe(self, loss: float) -> None:
        """Take in a loss that was evaluated on the timesteps of the stage, over all workers.

        Raises:
            ValueError: The loss is NaN or infinite.
        """
        if not math.isfinite(loss):
            raise ValueError(f"the loss of stage {self.stages[self._stage].name} is {loss}; lower the learning rate")
        if self._best is None or loss < self._best:
            self._best, self._num_waited = loss, 0
            return
        self._num_waited += 1
        if self._num_waited >= self.config.patience and self._stage < len(self.stages) - 1:
            self._stage, self._best, self._num_waited = self._stage + 1, None, 0

    def state_dict(self) -> dict[str, Any]:
        """Stage, best loss within it and evaluations since."""
        return {"stage": self._stage, "best": self._best, "num_waited": self._num_waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: It was taken with more clusters.
        """
        if not 0 <= state["stage"] < len(self.stages):
            raise ValueError(
                f"the state is at stage {state['stage']}, but num_clusters={self.config.num_clusters}; "
                "resume with the clusters that it was made with"
            )
        self._stage, self._best, self._num_waited = state["stage"], state["best"], state["num_waited"]


def _stages(num_clusters: int, num_steps: int) -> list[Stage]:
    """From the noisiest cluster alone to all timesteps.

    Raises:
        ValueError: A cluster would have no timestep.
    """
    if num_clusters > num_steps:
        raise ValueError(f"num_clusters={num_clusters} is more than the {num_steps} timesteps of the schedule")
    lows = [num_steps * cluster // num_clusters for cluster in reversed(range(num_clusters))]
    return [uniform_stage(f"from_{low}", low, num_steps, num_steps) for low in lows]
