"""Timesteps drawn where the loss is large, and weighted back (Nichol and Dhariwal 2021, eq. 18)."""

from typing import Any, Literal

import torch
from jaxtyping import Float, Float64, Int
from pydantic import Field
from torch import Tensor

from mien.config import Config
from mien.diffusion.pacing import Pacing, Progress, Stage, uniform_stage

Timesteps = Int[Tensor, "b"]
Losses = Float[Tensor, "b"]
Table = Float64[Tensor, "T"]


class LossAwareConfig(Config):
    """Timesteps by the root of the second moment of their loss."""

    kind: Literal["loss_aware"] = "loss_aware"
    """Kind of pacing."""

    history: int = Field(10, ge=1)
    """Losses that are kept of each timestep; timesteps are drawn uniformly until all have as many."""

    uniform_share: float = Field(0.001, gt=0, le=1)
    """Share of uniform draws, which keeps every timestep possible."""

    def build(self, num_steps: int) -> "LossAware":
        """The pacing over `num_steps` timesteps."""
        return LossAware(self, num_steps)


class LossAware(Pacing):
    """Follows the losses of the samples; its state is two tensors, on the CPU."""

    def __init__(self, config: LossAwareConfig, num_steps: int) -> None:
        """No loss is known yet."""
        self.config = config
        self._losses = torch.zeros(num_steps, config.history, dtype=torch.float64)
        self._num_seen = torch.zeros(num_steps, dtype=torch.int64)

    def stage_at(self, progress: Progress) -> Stage:
        """The distribution by the losses so far."""
        del progress
        num_steps = len(self._num_seen)
        if bool((self._num_seen < self.config.history).any()):
            return uniform_stage("warm_up", 0, num_steps, num_steps)
        moments = self._losses.square().mean(1).sqrt()
        shares = moments / moments.sum().clamp(min=torch.finfo(torch.float64).tiny)
        mixed = (1 - self.config.uniform_share) * shares + self.config.uniform_share / num_steps
        return Stage("by_loss", mixed / mixed.sum(), is_corrected=True)

    def observe_samples(self, t: Timesteps, losses: Losses) -> None:
        """Keep the last losses of each timestep.

        Args:
            t: Timesteps of the global batch [b], in the order of its samples, so that all workers keep the same.
            losses: Their losses [b], without any weight.

        Raises:
            ValueError: A loss is NaN or infinite.
        """
        if not bool(losses.isfinite().all()):
            raise ValueError("a loss is NaN or infinite; lower the learning rate")
        t, order = t.cpu().sort(stable=True)
        counts = torch.bincount(t, minlength=len(self._num_seen))
        place = torch.arange(len(t)) - (counts.cumsum(0) - counts)[t]  # among the samples of one timestep
        is_last = counts[t] - place <= self.config.history  # of two writes to one place either could win
        slot = (self._num_seen[t] + place) % self.config.history
        self._losses[t[is_last], slot[is_last]] = losses.detach().cpu().to(torch.float64)[order][is_last]
        self._num_seen += counts

    def state_dict(self) -> dict[str, Any]:
        """Losses [T, history] and how many were seen of each timestep [T]."""
        return {"losses": self._losses.clone(), "num_seen": self._num_seen.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            ValueError: It was taken with another schedule or history.
        """
        if state["losses"].shape != self._losses.shape:
            raise ValueError(
                f"the state has losses of [T, history] = {list(state['losses'].shape)}, "
                f"but the config says {list(self._losses.shape)}; resume with the config that it was made with"
            )
        self._losses, self._num_seen = state["losses"].clone(), state["num_seen"].clone()
