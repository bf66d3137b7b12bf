"""Which timesteps training draws, and when: what every kind of pacing is."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

Uniforms = Float[Tensor, "b"]
Timesteps = Int[Tensor, "b"]
Losses = Float[Tensor, "b"]
Factors = Float64[Tensor, "b"]
Table = Float64[Tensor, "T"]


class Progress(NamedTuple):
    """How far a training is."""

    epoch: int = 0
    """Epochs that are finished."""

    step: int = 0
    """Steps of the optimiser that are finished."""

    fraction: float = 0.0
    """Samples that were seen, of all that the training will see."""


@dataclass(frozen=True)
class Stage:
    """A distribution over timesteps."""

    name: str
    probabilities: Table
    """[T], of sum 1, on the CPU: sums of another device differ in their last bits."""
    is_corrected: bool = False
    """Whether `importance` undoes the distribution, so that the expected loss is that of uniform timesteps."""

    def draw(self, uniforms: Uniforms) -> Timesteps:
        """One timestep for each uniform number in [0, 1), int64 [b]: the inverse of the cumulative distribution.

        Each depends on its own number alone. Numbers of float64 tell all timesteps apart, whatever T.
        """
        cumulative = self.probabilities.cumsum(0)
        cumulative = (cumulative / cumulative[-1]).to(uniforms.device)
        return torch.searchsorted(cumulative, uniforms.to(torch.float64), right=True)

    def importance(self, t: Timesteps) -> Factors:
        """Factor of the loss of each sample: 1, or 1 / (T p(t)) where the stage is corrected."""
        if not self.is_corrected:
            return torch.ones(t.shape, dtype=torch.float64, device=t.device)
        drawn: Tensor = self.probabilities.to(t.device)[t]
        return 1 / (len(self.probabilities) * drawn)


class Pacing:
    """The stages of a training. Whatever it is told is the same on every worker, and so is what it says."""

    def stage_at(self, progress: Progress) -> Stage:
        """The stage from which the next step draws."""
        raise NotImplementedError(f"{type(self).__name__} has no stages")

    def check_length(self, total: int) -> None:
        """Refuse a training of `total` units that the stages do not fill."""

    def observe(self, loss: float) -> None:
        """Take in a loss of the stage that was evaluated over all workers."""

    def observe_samples(self, t: Timesteps, losses: Losses) -> None:
        """Take in the losses of the global batch, unweighted, in the order of its samples."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: nothing, where stages follow from the progress alone."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if state:
            raise ValueError(f"the state holds {sorted(state)}, but {type(self).__name__} keeps none")


def uniform_stage(name: str, low: int, high: int, num_steps: int) -> Stage:
    """Every timestep in low ≤ t < high alike."""
    t = torch.arange(num_steps)
    inside = ((t >= low) & (t < high)).to(torch.float64)
    return Stage(name, inside / inside.sum())
