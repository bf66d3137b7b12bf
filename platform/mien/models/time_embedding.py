"""Timesteps as vectors."""

import math

import torch
from jaxtyping import Float, Real
from torch import Tensor

Times = Real[Tensor, "b"]
"""Timesteps, whole or not."""

Embedded = Float[Tensor, "b d"]
"""One vector per timestep."""


def sinusoid(t: Times, dim: int) -> Embedded:
    """Sines, then cosines, of wavelengths from 2π to 20,000π: float32 [b, dim] (Ho et al. 2020, appendix B).

    Args:
        t: Timesteps [b].
        dim: Even, at least 4.
    """
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / (half - 1)
    angle = t.float()[:, None] * torch.exp(-math.log(10_000) * exponent)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
