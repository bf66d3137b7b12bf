"""From noise to data by a trained network: ancestral steps (DDPM) or few deterministic ones (DDIM).

All randomness is given: what is drawn depends on no device, batch or number of workers.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mien.config import Config
from mien.diffusion.schedule import Batch, Prediction, Schedule, Timesteps, Variance

Network = Callable[[Tensor, Tensor], Tensor]
"""(x_t [b, ...], t [b]) to a prediction [b, ...]."""

StepNoise = Callable[[int], Tensor]
"""Number of a step, from 0, to standard normal noise [b, ...] that differs from step to step."""

Watch = Callable[[int, Tensor, Tensor], None]
"""Told of each step on the way: its timestep, x_t and the estimate of x_0, both [b, ...]."""


@dataclass(frozen=True)
class Denoiser:
    """A network together with what its output means."""

    network: Network
    schedule: Schedule
    prediction: Prediction = "eps"
    watch: Watch | None = None

    def estimate(self, x_t: Batch, t: int, clip: float | None = None) -> tuple[Batch, Batch]:
        """x_0, within ±clip, and the noise that is left between it and x_t."""
        steps = timesteps(t, x_t)
        x_0 = self.schedule.x_0_from(self.prediction, self.network(x_t, steps), x_t, steps)
        x_0 = x_0 if clip is None else x_0.clamp(-clip, clip)
        if self.watch is not None:
            self.watch(t, x_t, x_0)
        return x_0, self.schedule.eps_from(x_0, x_t, steps)


class DdpmConfig(Config):
    """Every timestep, with fresh noise at each (Ho et al. 2020, algorithm 2)."""

    kind: Literal["ddpm"] = "ddpm"
    """Kind of sampler."""

    variance: Variance = "small"
    """Of the noise of a step."""

    clip: float | None = Field(1.0, gt=0)
    """Bound of the data, on both sides of 0; null for data without one."""

    def timesteps(self, total: int) -> list[int]:
        """Timesteps that are visited, from the noisiest down: all `total` ones."""
        return [*reversed(range(total))]

    @torch.no_grad()
    def sample(self, denoiser: Denoiser, start: Batch, noise: StepNoise | None = None) -> Batch:
        """Data from standard normal noise.

        Args:
            denoiser: Trained network.
            start: x_T [b, ...].
            noise: Noise of the steps 0 … T - 2; the last one adds none.

        Raises:
            ValueError: No noise of the steps is given.
        """
        noise, schedule, x = _required(noise, "ddpm"), denoiser.schedule, start
        stds = schedule.posterior_variance(self.variance).sqrt().tolist()
        for step, t in enumerate(self.timesteps(schedule.num_steps)):
            x_0, _ = denoiser.estimate(x, t, self.clip)
            x = schedule.posterior_mean(x_0, x, timesteps(t, x))
            if t > 0:
                x = x + stds[t] * noise(step)
        return x


class DdimConfig(Config):
    """Some of the timesteps, with little or no fresh noise (Song et al. 2021)."""

    kind: Literal["ddim"] = "ddim"
    """Kind of sampler."""

    num_steps: int = Field(50, ge=1)
    """Timesteps that are visited."""

    eta: float = Field(0.0, ge=0, le=1)
    """0 draws nothing; 1 has the variance of DDPM."""

    spacing: Literal["leading", "trailing", "linspace"] = "leading"
    """Timesteps from 0 on, up to T - 1, or from the one to the other (Lin et al. 2024, table 2)."""

    clip: float | None = Field(1.0, gt=0)
    """Bound of the data, on both sides of 0; null for data without one."""

    def timesteps(self, total: int) -> list[int]:
        """Timesteps that are visited, from the noisiest down, of `total` ones.

        Raises:
            ValueError: There are fewer than `num_steps`.
        """
        if self.num_steps > total:
            raise ValueError(f"num_steps={self.num_steps} of a sampler are more than the schedule has: {total}")
        spaced = {
            "leading": np.arange(self.num_steps)[::-1] * (total // self.num_steps),
            "trailing": np.round(total - np.arange(self.num_steps) * (total / self.num_steps)) - 1,
            "linspace": np.round(np.linspace(total - 1, 0, self.num_steps)),
        }
        return [int(t) for t in spaced[self.spacing]]

    @torch.no_grad()
    def sample(self, denoiser: Denoiser, start: Batch, noise: StepNoise | None = None) -> Batch:
        """Data from standard normal noise.

        Args:
            denoiser: Trained network.
            start: x at the first timestep [b, ...].
            noise: Noise of the steps, for eta > 0.

        Raises:
            ValueError: Noise is needed and not given, or the schedule has too few timesteps.
        """
        schedule, x = denoiser.schedule, start
        visited = self.timesteps(schedule.num_steps)
        for step, (t, following) in enumerate(itertools.pairwise([*visited, -1])):
            x_0, eps = denoiser.estimate(x, t, self.clip)
            here, there = schedule.alpha_bar_at(t), schedule.alpha_bar_at(following)
            sigma = self.eta * math.sqrt((1 - there) / (1 - here) * (1 - here / there))
            x = ddim_step(x_0, eps, there, sigma)
            if sigma > 0:
                x = x + sigma * _required(noise, "ddim with eta > 0")(step)
        return x


SamplerConfig = Annotated[DdpmConfig | DdimConfig, Field(discriminator="kind")]


def ddim_step(x_0: Batch, eps: Batch, alpha_bar: float, sigma: float = 0.0) -> Batch:
    """Mean of x at the following timestep, whose ᾱ is given (Song et al. 2021, eq. 12)."""
    return math.sqrt(alpha_bar) * x_0 + math.sqrt(max(0.0, 1 - alpha_bar - sigma**2)) * eps


def timesteps(t: int, x: Batch) -> Timesteps:
    """The same timestep for each sample of a batch, int64 [b]."""
    return torch.full((len(x),), t, dtype=torch.int64, device=x.device)


def _required(noise: StepNoise | None, kind: str) -> StepNoise:
    if noise is None:
        raise ValueError(f"the sampler {kind} needs noise for its steps; pass `noise`, made by mien.draws.normal")
    return noise
