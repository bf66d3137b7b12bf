"""Made expressions and warps, to see what a figure shows of data whose truth is known."""

from typing import Literal

import numpy as np
from pydantic import Field

from mien.analysis.variation import changes
from mien.config import Config
from mien.evaluation.embedded import Floats

REAL_CHANGE = 0.008542
"""Mean L2 change from frame to frame of 128 dimensions that was measured on real expressions."""
_WAVES = ((0.3, 10), (0.2, 25), (0.1, 50))
"""Amplitude and period, in frames."""


class SyntheticConfig(Config):
    """How large, how long, and which ones."""

    num_frames: int = Field(50, ge=1, le=100_000)
    """T."""
    num_dimensions: int = Field(128, ge=1, le=10_000)
    """D."""
    scale: Literal["large", "real"] = "real"
    """`large` changes by about 4 from frame to frame and in no direction for long; `real` as real expressions do:
    slowly, around offsets that are far larger."""
    seed: int = Field(0, ge=0)
    """Of all that is drawn."""


def expressions(config: SyntheticConfig) -> Floats:
    """Expressions that vary, [T, D]."""
    rng = np.random.default_rng(config.seed)
    offset = 0.1 * rng.normal(size=config.num_dimensions)
    num_drawn = config.num_frames if config.scale == "large" else 1
    directions = rng.normal(size=(num_drawn, len(_WAVES), config.num_dimensions))
    t = np.arange(config.num_frames)
    waves = np.stack([amplitude * np.sin(2 * np.pi * t / period) for amplitude, period in _WAVES], 1)
    moved = (waves[..., None] * directions).sum(1) + 0.01 * rng.normal(size=(config.num_frames, config.num_dimensions))
    if config.scale == "real" and config.num_frames > 1:
        moved *= REAL_CHANGE / changes(moved).mean()
    return np.asarray(offset + moved)


def constant(config: SyntheticConfig) -> Floats:
    """The first frame of `expressions` for all frames, [T, D]."""
    return np.repeat(expressions(config)[:1], config.num_frames, axis=0)


def warp(height_px: int = 256, width_px: int = 256) -> Floats:
    """Away from the middle, 10 d exp(-2 |d|) with d in sides of the crop: px, [H, W, 2]."""
    y, x = np.mgrid[0:height_px, 0:width_px]
    d = np.stack([(x - width_px / 2) / width_px, (y - height_px / 2) / height_px], -1)
    return np.asarray(10 * d * np.exp(-2 * np.linalg.norm(d, axis=-1, keepdims=True)))
