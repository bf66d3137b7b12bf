"""Images that a trained denoiser makes, and how they come out of the noise, as two pictures."""

import math
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mien import draws
from mien.config import COMMAND_LINE, Config
from mien.diffusion.sampler import SamplerConfig
from mien.errors import CheckpointError, ConfigError
from mien.evaluation.tiles import tiles
from mien.models import checkpoint
from mien.objectives.diffusion import Ddpm, DdpmConfig
from mien.objectives.load import Loaded, Weights, load_objective
from mien.storage.uri import open_store

GRID, STRIP = "samples.png", "denoising.png"

_NUM_ROWS, _NUM_COLUMNS = 4, 8
"""Images whose way is shown, and moments of it."""


class SamplesConfig(Config):
    """One run of `mien demo sample`."""

    checkpoint: str = ""
    """Output of `mien train`, of which the newest checkpoint is taken, or RUN/checkpoints/step_…."""
    output: str = "samples"
    """Where the pictures go, a folder or gs://; earlier ones are overwritten."""
    num: int = Field(16, ge=1, le=10_000)
    """Images."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Of the noise; seed 0 makes the images that the run drew of itself."""
    weights: Weights = "ema"
    """`ema`: averages over the steps, where the run has them; `model`: as the last step left them."""
    sampler: Literal["ddpm", "ddim"] | None = None
    """All timesteps with fresh noise, or some of them without; by default what the run was trained with."""
    num_steps: int | None = Field(None, ge=1)
    """Timesteps that ddim visits; by default what the run was trained with."""
    batch: int = Field(16, ge=1, le=4096)
    """Images of a forward pass."""

    def sampler_of(self, trained: DdpmConfig) -> SamplerConfig:
        """What was trained with, and over it what is asked for.

        Raises:
            ConfigError: The sampler takes no number of steps, or the schedule has fewer.
        """
        kept, total = trained.sampler.dump(), trained.schedule.num_steps
        values = kept if self.sampler in {None, kept["kind"]} else {"kind": self.sampler}
        if self.num_steps is not None:
            if values["kind"] == "ddpm":
                raise ConfigError(
                    f"num_steps: ddpm takes all {total} of the schedule; leave it out, or set sampler=ddim"
                )
            values |= {"num_steps": self.num_steps}
        return DdpmConfig.parse(trained.dump() | {"sampler": values}, COMMAND_LINE).sampler


class Strip:
    """Watches a sampler: keeps the first images at some of its timesteps."""

    def __init__(self, visited: Sequence[int]) -> None:
        """Nothing is kept yet.

        Args:
            visited: Timesteps of the sampler; the first, the last and some between are kept.
        """
        places = np.linspace(0, len(visited) - 1, min(_NUM_COLUMNS, len(visited))).round()
        self.timesteps = [visited[int(place)] for place in places]
        self._columns = list[Tensor]()

    def __call__(self, t: int, x_t: Tensor, x_0: Tensor) -> None:
        """Keep a moment."""
        if t in self.timesteps:
            self._columns.append(torch.stack([x_t[:_NUM_ROWS], x_0[:_NUM_ROWS]], dim=1).cpu())

    def png(self) -> bytes:
        """Two rows for each image, from noise to image: x_t, and below it what the network takes for x_0."""
        return tiles(torch.stack(self._columns, dim=2).flatten(0, 2), len(self.timesteps))


def run(config: SamplesConfig) -> dict[str, Any]:
    """Make images and write both pictures.

    Returns:
        What was made of what, where it lies, and how long an image took.

    Raises:
        CheckpointError: There is none, it cannot be read, or it is no denoiser of images.
        ConfigError: The sampler cannot be had.
        StorageError: A picture cannot be written.
    """
    loaded = load_objective(config.checkpoint, config.weights)
    ddpm = _ddpm(loaded, config.checkpoint)
    sampler = config.sampler_of(ddpm.config)
    visited = sampler.timesteps(ddpm.config.schedule.num_steps)
    strip, device = Strip(visited), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    started = time.monotonic()
    images = _sampled(ddpm.to(device), config, sampler, strip)
    took_s = time.monotonic() - started
    if not images.isfinite().all():
        raise CheckpointError(f"{config.checkpoint}: its images are no numbers; take an earlier one")
    store = open_store(config.output)
    store.replace(GRID, tiles(images, math.ceil(math.sqrt(config.num))))
    store.replace(STRIP, strip.png())
    has_ema = checkpoint.EMA in loaded.facts["files"]
    return {
        "output": store.uri,
        "grid": f"{store.uri}/{GRID}",
        "strip": f"{store.uri}/{STRIP}",
        "checkpoint": config.checkpoint,
        "step": loaded.facts["step"],
        "weights": config.weights if has_ema else "model",
        "sampler": sampler.kind,
        "num_steps": len(visited),
        "strip_timesteps": strip.timesteps,
        "num": config.num,
        "image_size_px": images.shape[-1],
        "seed": config.seed,
        "device": device.type,
        "s_per_image": took_s / config.num,
    }


def _ddpm(loaded: Loaded, place: str) -> Ddpm:
    if not isinstance(loaded.objective, Ddpm):
        kind = loaded.facts["objective"]["kind"]
        raise CheckpointError(
            f"{place}: holds a model of kind {kind}, which makes no images of noise; take one of ddpm"
        )
    return loaded.objective


def _sampled(ddpm: Ddpm, config: SamplesConfig, sampler: SamplerConfig, strip: Strip) -> Tensor:
    """Images [num, c, s, s], batch by batch; the strip sees the first."""
    keys = draws.keys(config.seed, "samples", torch.arange(config.num)).to(next(ddpm.parameters()).device)
    first, *others = torch.split(keys, config.batch)
    made = [ddpm.sample(first, sampler, strip), *(ddpm.sample(part, sampler) for part in others)]
    return torch.cat([part.cpu() for part in made])
