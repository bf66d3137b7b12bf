"""The optimiser: which parameters it moves, how far, and what it carries from step to step."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from mien.config import Config
from mien.losses.weights import Anchors, Schedule


class OptimizerConfig(Config):
    """AdamW or Adam, with a schedule of the learning rate."""

    kind: Literal["adamw", "adam"] = "adamw"
    """`adamw` decays weights apart from the gradient (Loshchilov and Hutter 2019)."""
    learning_rate: Schedule = Anchors(initial=5e-5, warmup=5e-5, final=1e-6)
    """By optimiser step."""
    min_learning_rate: float = Field(1e-6, ge=0, allow_inf_nan=False)
    """The learning rate never falls below it."""
    weight_decay: float = Field(0.01, ge=0, allow_inf_nan=False)
    """Of AdamW."""
    beta_1: float = Field(0.9, ge=0, lt=1)
    """Memory of the gradient."""
    beta_2: float = Field(0.999, ge=0, lt=1)
    """Memory of its square."""
    eps: float = Field(1e-8, gt=0, allow_inf_nan=False)
    """Added to the root of that square."""
    clip_norm: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Largest norm of the gradient of all parameters together; none by default."""

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of the parameters that learn."""
        learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
        shared = {"lr": 0.0, "betas": (self.beta_1, self.beta_2), "eps": self.eps, "fused": True}
        if self.kind == "adam":
            return torch.optim.Adam(learning, **shared)  # type: ignore[arg-type]
        return torch.optim.AdamW(learning, weight_decay=self.weight_decay, **shared)  # type: ignore[arg-type]

    def rate_at(self, step: int, num_steps: int) -> float:
        """Learning rate of a step."""
        return max(self.min_learning_rate, self.learning_rate.value(step, num_steps))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step, for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def gradient_norm(module: nn.Module, clip_norm: float | None) -> torch.Tensor:
    """Norm of the gradient of all parameters together, before it is clipped where that is asked for: a scalar."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if clip_norm is not None:
        learning = [p for p in module.parameters() if p.grad is not None]
        nn.utils.clip_grads_with_norm_(learning, clip_norm, norm)
    return norm


def moments(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, torch.Tensor]:
    """What the optimiser remembers, by `parameter/what`."""
    named: dict[torch.Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    return {
        f"{named[parameter]}/{what}": value
        for parameter, state in optimizer.state.items()
        for what, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def remember(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give an optimiser what `moments` gave; the counterpart."""
    named = dict(module.named_parameters())
    for key, value in tensors.items():
        name, _, what = key.rpartition("/")
        parameter = named[name]
        own = value.to(parameter.device, copy=True)  # the fused step counts there too
        if own.shape == parameter.shape:  # it goes through memory, not by index: moments lie as their parameter does
            own = torch.empty_like(parameter, dtype=own.dtype).copy_(own)
        optimizer.state[parameter][what] = own
