"""Two denoisers of one architecture on the same images with the same noise."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mien import draws
from mien.analysis.feature_capture import Located, capturing, locate
from mien.config import differing_keys
from mien.errors import CheckpointError, ConfigError
from mien.models import checkpoint
from mien.models.unet import Unet
from mien.objectives.diffusion import Ddpm
from mien.objectives.load import Weights, load_objective

Maps = dict[str, Float[Tensor, "c h w"]]
"""By layer, float32 on the CPU."""
Device = Literal["auto", "cpu", "cuda"]
ReadPair = Callable[["Input"], tuple[Maps, Maps]]

_NOT_OF_THE_ARCHITECTURE = {"dropout"}
"""Drops nothing in eval mode."""


class Sample(NamedTuple):
    """One image."""

    number: int
    """In the order of the held-out images; its noise depends on it."""
    name: str
    """What messages call it."""
    values: Float[Tensor, "c s s"]
    """In [-1, 1]."""


class Condition(NamedTuple):
    """How noisy an image is shown to the networks."""

    t: int
    is_clean: bool

    @property
    def name(self) -> str:
        """Folder of its figures."""
        return f"clean_t{self.t}" if self.is_clean else f"noisy_t{self.t}"

    @property
    def input_name(self) -> str:
        """File of its input image."""
        return "input_clean.png" if self.is_clean else f"input_{self.name}.png"

    @property
    def title(self) -> str:
        """Of its input image."""
        return "Clean Image" if self.is_clean else f"Noisy Image t={self.t}"


CLEAN = Condition(0, is_clean=True)
"""The image as it is, at timestep 0."""


class Input(NamedTuple):
    """What both networks see."""

    x: Float[Tensor, "1 c s s"]
    t: int


@dataclass(frozen=True)
class Pair:
    """Two models in eval mode; the noise is that of the baseline's schedule.

    Raises:
        CheckpointError: Their networks are of different architectures.
    """

    baseline: Ddpm
    curriculum: Ddpm
    places: tuple[str, str] = ("baseline", "curriculum")
    """What messages call them."""
    facts: tuple[dict[str, Any], ...] = ()
    """Of each: checkpoint, step and weights."""
    device: Device = "cpu"
    """Where they run when they are moved; `auto` is the GPU where there is one."""

    def __post_init__(self) -> None:
        first, second = (_architecture(model) for model in (self.baseline, self.curriculum))
        differing = [f"{key} is {first[key]} and {second[key]}" for key in differing_keys(first, second)]
        if differing:
            raise CheckpointError(
                f"{self.places[0]} and {self.places[1]}: are of different architectures: {'; '.join(differing)}; "
                "compare two runs of one network"
            )

    @property
    def networks(self) -> tuple[nn.Module, nn.Module]:
        """Baseline first."""
        return self.baseline.network, self.curriculum.network

    def device_here(self) -> str:
        """Where its networks run in this process.

        Raises:
            ConfigError: There is no GPU.
        """
        on = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        if on == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device: cuda is asked for, and there is no GPU (over Ray: workers.analyze.num_gpus=1)")
        return on

    def moved(self) -> "Pair":
        """This pair, on its device in this process.

        Raises:
            ConfigError: There is no GPU.
        """
        for model in (self.baseline, self.curriculum):
            model.to(self.device_here())
        return self

    def located(self, layers: Sequence[str]) -> list[Located]:
        """The modules that are read: the taps of the network if none is named.

        Raises:
            ConfigError: A layer is unknown.
        """
        taps = _taps(self.baseline.network)
        return [locate(self.baseline.network, name, taps) for name in layers or taps]

    def require_timesteps(self, timesteps: Iterable[int]) -> None:
        """Refuse a timestep that is not one of the schedule.

        Raises:
            ConfigError: One is not.
        """
        num_steps = self.baseline.schedule.num_steps
        if beyond := [t for t in timesteps if t >= num_steps]:
            raise ConfigError(f"timesteps: {beyond[0]} is not below {num_steps}, the steps of {self.places[0]}")

    def input_of(self, sample: Sample, condition: Condition, seed: int) -> Input:
        """An image at a timestep; its noise is the same at every timestep, so that the level alone differs.

        Raises:
            ConfigError: The image is not one of the network's.
        """
        network = self.baseline.config.network
        expected = (network.in_channels, network.image_size_px, network.image_size_px)
        if tuple(sample.values.shape) != expected:
            raise ConfigError(f"{sample.name}: has shape {[*sample.values.shape]}, the networks take {[*expected]}")
        x_0 = sample.values[None].float().cpu()
        if condition.is_clean:
            return Input(x_0, condition.t)
        noise = draws.normal(draws.keys(seed, "feature maps", torch.tensor([sample.number])), expected)
        return Input(self.baseline.schedule.add_noise(x_0, noise, torch.tensor([condition.t])), condition.t)

    @contextmanager
    def reading(self, layers: Sequence[str]) -> Iterator[ReadPair]:
        """Within: a function that runs both networks once on an input and gives the maps of both."""
        names = [one.name for one in self.located(layers)]
        baseline, curriculum = self.networks
        with (
            capturing(baseline, names, _taps(baseline)) as first,
            capturing(curriculum, names, _taps(curriculum)) as second,
        ):

            def read(given: Input) -> tuple[Maps, Maps]:
                device = next(baseline.parameters()).device
                inputs = given.x.to(device), torch.tensor([given.t], device=device)
                maps = [
                    {name: _maps_of(name, output, place) for name, output in one(*inputs).items()}
                    for place, one in zip(self.places, (first, second), strict=True)
                ]
                return maps[0], maps[1]

            yield read


def open_pair(baseline: str, curriculum: str, weights: Weights = "ema", device: Device = "auto") -> Pair:
    """Two runs of `mien train`, or two of their checkpoints, on the CPU until they are moved.

    Args:
        baseline: Left side.
        curriculum: Right side.
        weights: The averages, or the weights of the last step.
        device: Where they run when they are moved; `auto` is the GPU where there is one.

    Raises:
        CheckpointError: One cannot be read or is no denoiser, or they are of different architectures.
    """
    models, facts = list[Ddpm](), list[dict[str, Any]]()
    for place in (baseline, curriculum):
        loaded = load_objective(place, weights)
        if not isinstance(loaded.objective, Ddpm):
            kind = loaded.facts["objective"]["kind"]
            raise CheckpointError(f"{place}: is of the objective {kind}, which denoises no images; give a run of ddpm")
        models.append(loaded.objective)
        used = weights if checkpoint.EMA in loaded.facts["files"] else checkpoint.MODEL
        facts.append({"checkpoint": place, "step": loaded.facts["step"], "weights": used})
    return Pair(models[0], models[1], (baseline, curriculum), tuple(facts), device)


def _architecture(model: Ddpm) -> dict[str, Any]:
    values = model.config.network.dump().items()
    return {key: value for key, value in values if key not in _NOT_OF_THE_ARCHITECTURE}


def _taps(network: nn.Module) -> dict[str, nn.Module]:
    return network.taps if isinstance(network, Unet) else {}


def _maps_of(layer: str, output: Tensor, place: str) -> Tensor:
    """[1, c, h, w] to [c, h, w], which a picture can be made of."""
    if output.ndim != 4:
        raise ConfigError(f"layers: {layer}: puts out {[*output.shape]}, no maps [1, channels, height, width]")
    if not output.isfinite().all():
        raise CheckpointError(f"{place}: {layer} puts out values that are no numbers; take an earlier checkpoint")
    return output[0]
