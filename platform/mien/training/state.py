"""All that a run carries from step to step, and its way into a checkpoint and back."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mien.errors import CheckpointError, TrainingError
from mien.models import checkpoint
from mien.models.checkpoint import Checkpoint
from mien.objectives.objective import Objective
from mien.training.ema import Ema
from mien.training.optim import moments, remember
from mien.training.world import World

_CARRIED = "carried"
"""Part of a checkpoint: what the objective remembers."""


@dataclass
class State:
    """Model, optimiser and average after `step` optimiser steps. There is no random state and no loader state."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema | None
    step: int = 0

    def parts(self) -> dict[str, dict[str, torch.Tensor]]:
        """Copies on the CPU, which the next step does not change."""
        parts: dict[str, dict[str, torch.Tensor]] = {
            checkpoint.MODEL: self.module.state_dict(),
            checkpoint.OPTIMIZER: moments(self.optimizer, self.module),
        }
        if self.ema:
            parts[checkpoint.EMA] = self.ema.averages
        if carried := self._carried():
            parts[_CARRIED] = carried
        return {
            part: {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
            for part, tensors in parts.items()
        }

    def _carried(self) -> dict[str, torch.Tensor]:
        return self.module.carried() if isinstance(self.module, Objective) else {}

    def facts(self) -> dict[str, Any]:
        """What is no tensor."""
        return {"ema_updates": self.ema.num_updates if self.ema else 0}

    def restore(self, found: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError: It is damaged or of another architecture.
        """
        checkpoint.load_into(self.module, found.tensors(checkpoint.MODEL), found.uri)
        try:
            remember(self.optimizer, self.module, found.tensors(checkpoint.OPTIMIZER))
            if self.ema:
                self.ema.load(found.tensors(checkpoint.EMA), int(found.facts["ema_updates"]))
            if self._carried() and isinstance(self.module, Objective):
                self.module.carry_on(found.tensors(_CARRIED))
        except KeyError as error:
            raise CheckpointError(f"{found.uri}: does not fit this run: {error} is missing or unknown") from None
        self.step = found.step


def require_same(state: State, world: World) -> None:
    """Hold the replicas of all workers against each other, bit by bit.

    Raises:
        TrainingError: They differ, which no run recovers from.
    """
    sums = torch.stack([_bit_sum(p) for p in state.module.parameters()])
    extremes = world.largest(torch.stack([sums, -sums]))
    if not torch.equal(extremes[0], -extremes[1]):
        raise TrainingError(
            f"step {state.step}: the workers' copies of the model differ; one of the machines computes wrongly. "
            "The last checkpoint is good: the same command resumes from it"
        )


def _bit_sum(parameter: torch.Tensor) -> torch.Tensor:
    """Sum of the bits of a tensor, read as whole numbers: int64 scalar."""
    size = {2: torch.int16, 4: torch.int32, 8: torch.int64}[parameter.element_size()]
    return parameter.detach().contiguous().view(size).sum(dtype=torch.int64)
