"""How much of the data and how much noise a timestep holds: x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε (Ho et al. 2020, eq. 4)."""

import math
from typing import Annotated, Literal, Self

import torch
from jaxtyping import Float, Float64, Int
from pydantic import Field, model_validator
from torch import Tensor

from mien.config import Config

Batch = Float[Tensor, "b *dims"]
Timesteps = Int[Tensor, "b"]
Table = Float64[Tensor, "T"]
"""One number per timestep."""

Betas = Float[Tensor, "T"]

Prediction = Literal["eps", "x_0", "v"]
"""What a network predicts: the noise, the data, or v = √ᾱ ε - √(1 - ᾱ) x_0 (Salimans and Ho 2022, appendix D)."""

Variance = Literal["small", "large"]
"""Of a step of DDPM: that of the posterior, or β (Ho et al. 2020, section 3.2)."""


class LinearScheduleConfig(Config):
    """Betas that grow by the same amount from step to step (Ho et al. 2020)."""

    kind: Literal["linear"] = "linear"
    """Kind of schedule."""

    num_steps: int = Field(1000, ge=2)
    """Timesteps, T."""

    first_beta: float = Field(1e-4, gt=0, lt=1)
    """Share of the variance that is replaced at t = 0."""

    last_beta: float = Field(0.02, gt=0, lt=1)
    """The same at t = T - 1."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.first_beta > self.last_beta:
            raise ValueError(f"first_beta={self.first_beta} is above last_beta={self.last_beta}")
        return self

    def build(self) -> "Schedule":
        """The schedule on the CPU."""
        return Schedule(torch.linspace(self.first_beta, self.last_beta, self.num_steps, dtype=torch.float64))


class CosineScheduleConfig(Config):
    """ᾱ that falls as a squared cosine (Nichol and Dhariwal 2021, eq. 17)."""

    kind: Literal["cosine"] = "cosine"
    """Kind of schedule."""

    num_steps: int = Field(1000, ge=2)
    """Timesteps, T."""

    offset: float = Field(0.008, ge=0, lt=1)
    """Keeps the first betas from 0."""

    max_beta: float = Field(0.999, gt=0, lt=1)
    """No beta is larger: the last one would be 1, and nothing of the data left."""

    def build(self) -> "Schedule":
        """The schedule on the CPU."""
        time = torch.linspace(0, 1, self.num_steps + 1, dtype=torch.float64)
        falling = torch.cos((time + self.offset) / (1 + self.offset) * math.pi / 2) ** 2
        return Schedule((1 - falling[1:] / falling[:-1]).clamp(max=self.max_beta))


ScheduleConfig = Annotated[LinearScheduleConfig | CosineScheduleConfig, Field(discriminator="kind")]


class Schedule:
    """Tables of float64, one number per timestep, and what follows from them; t is in 0 ≤ t < T everywhere.

    Attributes:
        betas: β [T], the variance that a step adds.
        alphas: α = 1 - β [T].
        alpha_bar: ᾱ [T], products of α.
        snr: ᾱ / (1 - ᾱ) [T], the signal-to-noise ratio.
    """

    def __init__(self, betas: Betas) -> None:
        """Everything follows from the betas.

        Raises:
            ValueError: A beta is not between 0 and 1.
        """
        if betas.ndim != 1 or not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError("betas must be one dimension of numbers in 0 < beta < 1; change the schedule's bounds")
        self.betas = betas.to(torch.float64)
        self.alphas = 1 - self.betas
        self.alpha_bar = self.alphas.cumprod(0)
        self.snr = self.alpha_bar / (1 - self.alpha_bar)

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.betas)

    def to(self, device: torch.device | str) -> "Schedule":
        """The same schedule elsewhere; tables that lie with the batch are not copied at every use."""
        return Schedule(self.betas.to(device))

    def alpha_bar_at(self, t: int) -> float:
        """ᾱ of one timestep; 1 for t = -1, which is the data."""
        return 1.0 if t == -1 else float(self.alpha_bar[t])

    def add_noise(self, x_0: Batch, noise: Batch, t: Timesteps) -> Batch:
        """x_t from data and standard normal noise, each sample at its own timestep."""
        signal, sigma = self._signal_and_sigma(x_0, t)
        return signal * x_0 + sigma * noise

    def target(self, prediction: Prediction, x_0: Batch, noise: Batch, t: Timesteps) -> Batch:
        """What a network that predicts this should have said."""
        if prediction == "v":
            signal, sigma = self._signal_and_sigma(x_0, t)
            return signal * noise - sigma * x_0
        return noise if prediction == "eps" else x_0

    def x_0_from(self, prediction: Prediction, predicted: Batch, x_t: Batch, t: Timesteps) -> Batch:
        """The data that a prediction stands for."""
        signal, sigma = self._signal_and_sigma(x_t, t)
        if prediction == "eps":
            return (x_t - sigma * predicted) / signal
        return signal * x_t - sigma * predicted if prediction == "v" else predicted

    def eps_from(self, x_0: Batch, x_t: Batch, t: Timesteps) -> Batch:
        """The noise that lies between data and x_t."""
        signal, sigma = self._signal_and_sigma(x_t, t)
        return (x_t - signal * x_0) / sigma

    def posterior_mean(self, x_0: Batch, x_t: Batch, t: Timesteps) -> Batch:
        """Mean of x_(t-1) where x_0 and x_t are known (Ho et al. 2020, eq. 7)."""
        before = self._alpha_bar_before()
        of_x_0 = self.betas * before.sqrt() / (1 - self.alpha_bar)
        of_x_t = self.alphas.sqrt() * (1 - before) / (1 - self.alpha_bar)
        return _at(of_x_0, t, x_0) * x_0 + _at(of_x_t, t, x_t) * x_t

    def posterior_variance(self, variance: Variance) -> Table:
        """Variance of x_(t-1) [T]; `small` is that where x_0 is known, 0 at t = 0, `large` is β."""
        if variance == "large":
            return self.betas
        return self.betas * (1 - self._alpha_bar_before()) / (1 - self.alpha_bar)

    def _alpha_bar_before(self) -> Tensor:
        """ᾱ of t - 1 [T]."""
        return torch.cat([self.alpha_bar.new_ones(1), self.alpha_bar[:-1]])

    def _signal_and_sigma(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ and √(1 - ᾱ), ready to be multiplied with x."""
        return _at(self.alpha_bar.sqrt(), t, x), _at((1 - self.alpha_bar).sqrt(), t, x)


def _at(table: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """Entries of a table [b, 1, …], of x's type and number of dimensions."""
    return table.to(x.device)[t].to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
