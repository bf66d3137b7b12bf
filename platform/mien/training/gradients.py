"""Gradients of a step, summed over clips and workers so that nobody can tell in which order.

In float32 the order shows in the last bit, a gate of a ReLU then opens on one machine and not on another, and Adam
makes a full step of what was rounding: after some hundred steps weights differ by 1e-4. A sum in float64 of numbers in
float32 is rounded where they do not see it, and a sum of two numbers has no order.
"""

import torch
from torch import nn

from mien.training.world import World


class ExactSum:
    """Takes the gradients of one clip after the other, and gives back their sum over all workers."""

    def __init__(self, module: nn.Module, num_clips: int) -> None:
        """Room for the parameters that learn.

        Args:
            module: Whose gradients.
            num_clips: Clips of a step, over all workers.
        """
        self._learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
        num = sum(parameter.numel() for parameter in self._learning)
        first = self._learning[0]
        dtype = torch.float64 if num_clips > 2 else first.dtype
        self._flat = torch.zeros(num, dtype=dtype, device=first.device)
        sizes = [parameter.numel() for parameter in self._learning]
        self._parts = [part.view_as(p) for part, p in zip(torch.split(self._flat, sizes), self._learning, strict=True)]

    @torch.no_grad()
    def take(self) -> None:
        """Add the gradients that a backward pass left, and clear them."""
        for part, parameter in zip(self._parts, self._learning, strict=True):
            if parameter.grad is not None:
                part.add_(parameter.grad)
                parameter.grad = None

    @torch.no_grad()
    def give(self, world: World) -> None:
        """Leave the sum over all workers as the gradients, and begin anew."""
        world.sum(self._flat)
        for part, parameter in zip(self._parts, self._learning, strict=True):
            parameter.grad = part.to(parameter.dtype, copy=True)
        self._flat.zero_()
