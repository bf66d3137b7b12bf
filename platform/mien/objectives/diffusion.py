"""Denoising, as DDPM and its variants are trained: a network, a process, and which timesteps are drawn when."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field, model_validator
from torch import Tensor

from mien import draws
from mien.config import Config
from mien.diffusion.pacing import Progress
from mien.diffusion.sampler import DdimConfig, Denoiser, SamplerConfig, Watch
from mien.diffusion.schedule import LinearScheduleConfig, Prediction, ScheduleConfig
from mien.diffusion.timesteps import TimestepsConfig, UniformConfig
from mien.diffusion.weighting import UnweightedConfig, WeightingConfig
from mien.losses.terms import Term
from mien.losses.weights import Constant, Schedule
from mien.models.unet import UnetConfig
from mien.objectives.batch import Samples, Values
from mien.objectives.objective import Gather, Objective, Outcome, from_one_rank

NUM_BANDS = 4
"""Equal parts of the timesteps whose errors are told apart: a mean over all hides what happens to the low ones."""


class DiffusionWeights(Config):
    """Importance of the one term."""

    denoising: Schedule = Constant(level=1.0)
    """Of the weighted error of the prediction."""


class ProcessConfig(Config):
    """What every variant has, whatever its network."""

    schedule: ScheduleConfig = LinearScheduleConfig()
    """Noise of each timestep."""
    prediction: Prediction = "eps"
    """What the network says."""
    weighting: WeightingConfig = UnweightedConfig()
    """How much each timestep counts."""
    timesteps: TimestepsConfig = UniformConfig()
    """Which timesteps are drawn, and when. Validation always draws all of them alike, the same for every variant."""
    weights: DiffusionWeights = DiffusionWeights()
    """Of the terms."""


class DdpmConfig(ProcessConfig):
    """A denoiser of images (Ho et al. 2020)."""

    kind: Literal["ddpm"] = "ddpm"
    """Kind of objective."""
    network: UnetConfig = UnetConfig()
    """Network that is trained."""
    sampler: SamplerConfig = Field(DdimConfig(), validate_default=True)
    """How samples are made of it."""

    @model_validator(mode="after")
    def _sampler_fits(self) -> "DdpmConfig":
        self.sampler.timesteps(self.schedule.num_steps)
        return self

    def build(self) -> "Ddpm":
        """A network with random parameters."""
        return Ddpm(self)


class Diffusion(Objective):
    """Noise is added to samples, and a network says what it was; subclasses add what is special about theirs."""

    def __init__(self, config: "ProcessConfig", network: torch.nn.Module) -> None:
        """The tables of the process; the network is called with (x_t, t)."""
        super().__init__(config.weights)
        self.process = config
        self.network = network
        self.schedule = config.schedule.build()
        self.pacing = config.timesteps.build(self.schedule.num_steps)
        self._uniform = UniformConfig().build(self.schedule.num_steps).stage_at(Progress())
        self._stage = self._uniform
        self._weights = config.weighting.weights(self.schedule, config.prediction)

    @property
    def follows(self) -> bool:
        """Where the pacing looks at losses."""
        return self.process.timesteps.kind in {"task_difficulty", "loss_aware"}

    def begin(self, progress: Progress) -> None:
        """Take the stage of this step."""
        self._stage = self.pacing.stage_at(progress)

    @property
    def stage(self) -> str:
        """Name of the stage that training is in."""
        return self._stage.name

    def told(self) -> dict[str, Any]:
        """The stage."""
        return {"stage": self.stage}

    def follow(self, seen: Mapping[str, Tensor]) -> None:
        """Tell the pacing."""
        self.pacing.observe(float(seen["error"].double().mean()))
        self.pacing.observe_samples(seen["t"], seen["error"])

    def carried(self) -> dict[str, Tensor]:
        """The pacing's state, its numbers as tensors, and NaN for one that is not there yet."""
        return {
            name: value
            if isinstance(value, Tensor)
            else torch.tensor(float("nan") if value is None else value, dtype=torch.float64)
            for name, value in self.pacing.state_dict().items()
        }

    def carry_on(self, carried: Mapping[str, Tensor]) -> None:
        """Give the pacing its state back; a run without one was made by a version that kept none."""
        own = self.pacing.state_dict()
        if own:
            self.pacing.load_state_dict({name: _as(value, carried[name]) for name, value in own.items()})

    def forward(self, batch: Samples, gather: Gather = from_one_rank) -> Outcome:  # noqa: ARG002  compares no two
        """Errors of the predictions: of the stage in training, of all timesteps alike in eval mode."""
        x_0 = batch.values
        stage = self._stage if self.training else self._uniform
        t = stage.draw(draws.uniform(draws.fold(batch.keys, 0), dtype=torch.float64))
        noise = draws.normal(draws.fold(batch.keys, 1), x_0.shape[1:]).to(x_0.dtype)
        predicted = self._predicted(self.noisy(x_0, noise, t), t, batch.keys)
        target = self.schedule.target(self.process.prediction, x_0, noise, t)
        error = (predicted.to(target.dtype) - target).square().flatten(1).mean(1)
        factor = (self._weights.to(t.device)[t] * stage.importance(t)).to(error.dtype)
        terms = {"denoising": _term(error * factor, batch.mask)}
        return Outcome(
            terms, watched=self._by_band(error.detach(), t, batch.mask), seen={"t": t, "error": error.detach()}
        )

    def counts(self, batch: Samples, gather: Gather = from_one_rank) -> dict[str, Tensor]:  # noqa: ARG002
        """Samples that count."""
        return {"denoising": batch.mask.sum()}

    def noisy(self, x_0: Values, noise: Values, t: Int64[Tensor, " n"]) -> Tensor:
        """What the network sees at a timestep."""
        return self.schedule.add_noise(x_0, noise, t)

    @property
    def denoiser(self) -> Denoiser:
        """The network with its process, for sampling; it must be in eval mode."""
        return Denoiser(self.network, self.schedule, self.process.prediction)

    def _predicted(self, x_t: Tensor, t: Tensor, keys: Tensor) -> Tensor:  # noqa: ARG002  for networks with dropout
        out: Tensor = self.network(x_t, t)
        return out

    def _by_band(self, error: Tensor, t: Tensor, mask: Tensor) -> dict[str, Term]:
        """Unweighted errors over all timesteps, and of each part of them."""
        band = t * NUM_BANDS // self.schedule.num_steps
        parts = {f"error_{number + 1}_of_{NUM_BANDS}": mask & (band == number) for number in range(NUM_BANDS)}
        return {"error": _term(error, mask), **{name: _term(error, part) for name, part in parts.items()}}


class Ddpm(Diffusion):
    """Images."""

    def __init__(self, config: DdpmConfig) -> None:
        """A fresh network, its channels last in memory, as convolutions want it."""
        network = config.network.build()
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(config, network)
        self.config = config

    def _predicted(self, x_t: Tensor, t: Tensor, keys: Tensor) -> Tensor:
        out: Tensor = self.network(x_t, t, keys)
        return out

    @torch.no_grad()
    def sample(
        self, keys: Int64[Tensor, " n"], sampler: SamplerConfig | None = None, watch: Watch | None = None
    ) -> Float[Tensor, "n c s s"]:
        """Images in [-1, 1], one per key (`draws.keys`): the same on any device, in any batch.

        Args:
            keys: Of the noise.
            sampler: How they are made; as the config says if None.
            watch: Told of each step.
        """
        network, sampler = self.config.network, sampler or self.config.sampler
        shape = (network.in_channels, network.image_size_px, network.image_size_px)
        was_training = self.training
        self.eval()
        try:
            start = draws.normal(draws.fold(keys, 0), shape)
            denoiser = replace(self.denoiser, watch=watch)
            return sampler.sample(denoiser, start, lambda step: draws.normal(draws.fold(keys, 1 + step), shape))
        finally:
            self.train(was_training)


def _term(values: Tensor, mask: Tensor) -> Term:
    return Term(torch.where(mask, values, 0).sum(), mask.sum())


def _as(like: object, value: Tensor) -> object:
    """A number of the pacing's state as it was."""
    if isinstance(like, Tensor):
        return value
    number = float(value)
    return None if number != number else int(number) if isinstance(like, int) else number
