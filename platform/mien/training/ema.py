"""An average of the weights over the steps, in float32 and the same on every rank."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from mien.config import Config


class EmaConfig(Config):
    """How fast the average forgets."""

    decay: float = Field(0.9999, gt=0, lt=1)
    """Share of the average that a step keeps, once warmed up."""
    warmup: Literal["none", "ratio"] = "ratio"
    """`ratio`: at most (1 + n) / (10 + n) after n steps, as in DDPM code since TensorFlow's moving averages: a young
    average is not one of random weights. `none`: the decay from the first step."""

    def decay_at(self, num_updates: int) -> float:
        """Share that is kept by the update after `num_updates` earlier ones."""
        if self.warmup == "none":
            return self.decay
        return min(self.decay, (1 + num_updates) / (10 + num_updates))


class Ema:
    """Averages of a module's parameters that learn."""

    def __init__(self, config: EmaConfig, module: nn.Module) -> None:
        """Begin with the weights as they are."""
        self._config, self.num_updates = config, 0
        self._learning = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.averages = {name: p.detach().to(_wide(p.dtype), copy=True) for name, p in self._learning.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an optimiser step (one fused operation for all of them)."""
        weight = 1 - self._config.decay_at(self.num_updates)
        now = [p.detach().to(_wide(p.dtype)) for p in self._learning.values()]
        torch._foreach_lerp_([*self.averages.values()], now, weight)
        self.num_updates += 1

    def load(self, averages: Mapping[str, torch.Tensor], num_updates: int) -> None:
        """Go on from a checkpoint."""
        for name, average in self.averages.items():
            average.copy_(averages[name])
        self.num_updates = num_updates

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange averages and weights, for an evaluation; the same call exchanges them back."""
        for name, parameter in self._learning.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.averages[name])
            self.averages[name].copy_(kept)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """float32 at least: in bfloat16 a step of 1e-4 of the way is none."""
    return dtype if dtype == torch.float64 else torch.float32
