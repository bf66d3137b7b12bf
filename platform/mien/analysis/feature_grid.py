"""Activation maps of one layer of two models side by side, and the image that both of them saw."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from mien.analysis.feature_numbers import Floats, Numbers, measure
from mien.config import Config

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP_PX = 2
"""Between maps."""
_PERCENTILES = (2, 98)
_GREY = 0.5

Ints = npt.NDArray[np.int64]


class GridConfig(Config):
    """Which channels are shown, and how they are coloured."""

    num_channels: int = Field(64, ge=1, le=4096)
    """Channels on each side: those that vary the most over the image."""
    grid_size: int = Field(8, ge=1, le=64)
    """Rows and columns of a side."""
    shared: bool = False
    """One scale and the same channels on both sides, so that colours compare. Otherwise every map has a scale of its
    own, and every model the channels that vary the most in it."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.num_channels > self.grid_size**2:
            room = f"{self.grid_size} x {self.grid_size}"
            raise ValueError(f"num_channels={self.num_channels} do not fit into {room}; raise grid_size")
        return self


@dataclass(frozen=True)
class Side:
    """One half of a figure."""

    name: str
    channels: Ints
    """Numbers of the shown channels, [k], the one that varies the most first."""
    scaled: Float[np.ndarray, "k h w"]
    """Their maps, 0 at `low` and 1 at `high`."""
    low: Floats
    """[k], in units of the activations."""
    high: Floats
    numbers: Numbers
    """Of the shown maps, not scaled."""


@dataclass(frozen=True)
class Grids:
    """All that a figure of activation maps shows."""

    title: str
    sides: tuple[Side, Side]


def grids(title: str, names: tuple[str, str], maps: tuple[Tensor, Tensor], config: GridConfig) -> Grids:
    """Choose channels of the maps [c, h, w] of two models, and scale them."""
    both = (maps[0].numpy(), maps[1].numpy())
    variances = [_variance(one) for one in both]
    if config.shared:  # each model in units of its own, or the one with the larger activations would choose alone
        together = np.sum([one / (one.sum() or 1) for one in variances], axis=0)
        variances = [together, together]
    channels = [np.argsort(-one, kind="stable")[: config.num_channels] for one in variances]
    shown = [one[chosen] for one, chosen in zip(both, channels, strict=True)]
    sides = [
        Side(name, chosen, *scaled, measure(values))
        for name, chosen, scaled, values in zip(names, channels, _scaled(shown, config.shared), shown, strict=True)
    ]
    return Grids(title, (sides[0], sides[1]))


def _variance(maps: npt.NDArray[np.float32]) -> Floats:
    """Unbiased variance of each channel over the image; 0 where that has one place."""
    places = maps.reshape(len(maps), -1).astype(np.float64)
    return places.var(axis=1, ddof=1) if places.shape[1] > 1 else np.zeros(len(places))


def _scaled(shown: list[np.ndarray], shared: bool) -> list[tuple[np.ndarray, Floats, Floats]]:
    """Maps in [0, 1], and what 0 and 1 stand for: 2nd and 98th percentile of each map, or of all of both sides."""
    if shared:
        limits = np.percentile(np.concatenate([one.ravel() for one in shown]), _PERCENTILES)
        ends = [np.repeat(limits[:, None], len(one), axis=1) for one in shown]
    else:
        ends = [np.percentile(one, _PERCENTILES, axis=(1, 2)) for one in shown]
    return [(_between(maps, low, high), low, high) for maps, (low, high) in zip(shown, ends, strict=True)]


def _between(maps: np.ndarray, low: Floats, high: Floats) -> np.ndarray:
    """Clipped and scaled; 0 where a map is flat."""
    low, width = low[:, None, None], (high - low)[:, None, None]
    scaled = np.clip((maps - low) / np.where(width > 0, width, 1), 0, 1)
    return np.where(width > 0, scaled, 0).astype(np.float32)


def tiled(maps: Float[np.ndarray, "k h w"], grid_size: int) -> Float[np.ndarray, "H W"]:
    """The first maps in rows of `grid_size`; gaps and places without a map are grey."""
    height, width = (size + GAP_PX for size in maps.shape[1:])
    canvas = np.full((grid_size * height, grid_size * width), _GREY, np.float32)
    for place, one in enumerate(maps[: grid_size**2]):
        top, left = place // grid_size * height, place % grid_size * width
        canvas[top : top + height - GAP_PX, left : left + width - GAP_PX] = one
    return canvas[:-GAP_PX, :-GAP_PX]


def draw(data: Grids, config: GridConfig) -> "Figure":
    """Left the baseline, right the other model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(20, 10))
    figure.subplots_adjust(left=0.02, right=0.95, bottom=0.02, top=0.87, wspace=0.16)
    figure.suptitle(data.title, x=0.485, y=0.98, fontsize=16, fontweight="bold", parse_math=False)
    for axes, side in zip(figure.subplots(1, 2), data.sides, strict=True):
        low, high = (float(side.low[0]), float(side.high[0])) if config.shared else (0.0, 1.0)
        canvas = low + (high - low) * tiled(side.scaled, config.grid_size)
        image = axes.imshow(canvas, cmap="viridis", interpolation="nearest", vmin=low, vmax=high)
        _title(axes, side)
        said = "same scale on both sides" if config.shared else "every map by its own 2nd to 98th percentile"
        figure.colorbar(image, ax=axes, fraction=0.046, pad=0.04, label=f"Activation Strength ({said})")
    return figure


def _title(axes: "Axes", side: Side) -> None:
    axes.axis("off")
    numbers = side.numbers
    said = f"Mean: {numbers.mean:.3f}, Std: {numbers.std:.3f}, Sparsity: {numbers.sparsity:.2%}"
    axes.set_title(f"{side.name}\n{said}", fontsize=14, fontweight="bold", parse_math=False)


@dataclass(frozen=True)
class InputImage:
    """What the networks saw."""

    title: str
    values: Float[np.ndarray, "c s s"]
    """In about [-1, 1]; a noisy one goes beyond."""


def draw_input(data: InputImage) -> "Figure":
    """The image, clipped to what can be shown; of other than three channels the first, in grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6))
    axes = figure.subplots()
    pixels = np.clip((data.values.transpose(1, 2, 0) + 1) / 2, 0, 1)
    is_coloured = pixels.shape[2] == 3
    axes.imshow(pixels if is_coloured else pixels[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")
    axes.set_title(data.title, parse_math=False)
    return figure
