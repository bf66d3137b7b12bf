"""Embeddings of one modality into the distribution of another: the diffusion bridge of Lee et al. (CVPR 2025).

Embeddings live on a sphere: their length is taken away, then the mean of their modality, and what is left is scaled to
one radius. Noisy ones are brought back to that radius, in training as at inference. The diffusion model knows the
target alone; a source embedding enters its reverse process as if it were a noisy target, without noise.
"""

import itertools
from typing import Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from mien.config import Config
from mien.diffusion.sampler import Denoiser, ddim_step
from mien.diffusion.schedule import Schedule, Timesteps

Embeddings = Float[Tensor, "b d"]
Mean = Float[Tensor, "m"]
"""As wide as the embeddings; compared at run time, for files of another extractor are an easy mistake."""

Frame = Literal["centred", "raw"]
"""Where embeddings are compared: on the sphere around their mean, or on that of the extractor, with a mean put back."""


class BridgeConfig(Config):
    """The way of an embedding from source to target."""

    radius: float = Field(5.0, gt=0, allow_inf_nan=False)
    """Length of every embedding that the network sees."""

    start_step: int = Field(600, ge=1)
    """Noise level at which an embedding enters, K: it is taken for a noisy target of timestep K - 1."""

    num_steps: int = Field(5, ge=1)
    """Calls of the network on the way, S."""

    frame: Frame = "centred"
    """Frame of the result; before and after are compared in this one."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        times(self.start_step, self.num_steps)
        return self

    @torch.no_grad()
    def translate(self, denoiser: Denoiser, x: Embeddings) -> Embeddings:
        """Unit vectors in the centred frame, without any draw.

        Args:
            denoiser: Network that was trained on the target.
            x: Source embeddings after `normalise` with the mean of their own modality.

        Raises:
            ValueError: K is more than the schedule has timesteps, or an embedding cannot be scaled.
        """
        _check(x, x.shape[-1])
        if self.start_step > denoiser.schedule.num_steps:
            total = denoiser.schedule.num_steps
            raise ValueError(f"start_step={self.start_step} is more than the {total} timesteps of the schedule")
        for t, following in itertools.pairwise(times(self.start_step, self.num_steps)):
            x_0, eps = denoiser.estimate(self.radius * functional.normalize(x), t)
            x = ddim_step(x_0, eps, denoiser.schedule.alpha_bar_at(following))
        return functional.normalize(x)


def times(start_step: int, num_steps: int) -> list[int]:
    """Timesteps of a bridge: S + 1 evenly spaced whole numbers from K - 1 down to -1, which stands for the data.

    Raises:
        ValueError: S is not in 1 ≤ S ≤ K.
    """
    if not 1 <= num_steps <= start_step:
        raise ValueError(f"num_steps={num_steps} must be between 1 and start_step={start_step}")
    return [step * start_step // num_steps - 1 for step in reversed(range(num_steps + 1))]


def normalise(x: Embeddings, mean: Mean | None, radius: float) -> Embeddings:
    """Embeddings as the network sees them: direction, minus the mean, its direction, times the radius.

    Args:
        x: Embeddings of an extractor [b, d].
        mean: Mean of the unit vectors of the same modality [d]; None leaves the sphere where it is.
        radius: Length of the result.

    Raises:
        ValueError: An embedding is not finite, is zero or is the mean itself, or the widths differ.
    """
    _check(x, x.shape[-1] if mean is None else len(mean))
    unit = functional.normalize(x)
    if mean is None:
        return radius * unit
    centred = unit - mean
    _check(centred, len(mean), "an embedding without the mean")
    return radius * functional.normalize(centred)


def denormalise(x: Embeddings, mean: Mean | None, frame: Frame) -> Embeddings:
    """Unit vectors in the frame in which they are compared.

    `raw` puts the mean back: of all vectors mean + r · direction the one of length 1, which `normalise` came from.

    Args:
        x: Centred embeddings of any length [b, d].
        mean: Mean of the target's unit vectors [d]; None where none was taken away.
        frame: Frame of the result.

    Raises:
        ValueError: An embedding is not finite or zero, the widths differ, or the mean is longer than 1.
    """
    _check(x, x.shape[-1] if mean is None else len(mean))
    unit = functional.normalize(x)
    if frame == "centred" or mean is None:
        return unit
    if not mean.norm() < 1:
        raise ValueError(f"the mean has length {mean.norm():.3f}, but that of unit vectors is below 1")
    along = (unit @ mean)[:, None]
    r = -along + torch.sqrt(along**2 + 1 - mean.square().sum())  # the positive root of |mean + r · unit|² = 1
    return mean + r * unit


def add_noise(x_0: Embeddings, noise: Embeddings, t: Timesteps, schedule: Schedule, radius: float) -> Embeddings:
    """x_t as in DDPM, then brought back to the radius: the network's input in training."""
    return radius * functional.normalize(schedule.add_noise(x_0, noise, t))


def mean_shift(x: Embeddings, source_mean: Mean, target_mean: Mean) -> Embeddings:
    """Control without diffusion: the direction from one mean is gone from the other, raw frame, unit vectors."""
    return denormalise(normalise(x, source_mean, 1.0), target_mean, "raw")


def inject_noise(x: Embeddings, noise: Embeddings, strength: float) -> Embeddings:
    """Control without a network: unit vectors that moved in a random direction.

    Args:
        x: Embeddings [b, d].
        noise: Standard normal [b, d].
        strength: Expected length of the noise over that of the embedding.

    Raises:
        ValueError: An embedding is not finite or zero.
    """
    _check(x, noise.shape[-1])
    return functional.normalize(functional.normalize(x) + strength * noise / noise.shape[-1] ** 0.5)


def _check(x: Tensor, width: int, name: str = "an embedding") -> None:
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(f"embeddings are {list(x.shape)}, but must be [b, {width}]")
    if not bool(x.isfinite().all()):
        raise ValueError(f"{name} holds NaN or infinity; leave such rows out")
    if not bool((x.norm(dim=1) > 0).all()):
        raise ValueError(f"{name} is zero and has no direction; leave such rows out")
