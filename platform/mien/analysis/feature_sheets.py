"""Contact sheets: one layer over images, one image over layers, one timestep over both; timesteps side by side."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8
from PIL import Image, ImageOps
from pydantic import Field

from mien.analysis.feature_grid import Side, tiled
from mien.config import Config

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

THUMB_SIZE_PX = 132
"""Longest side of a thumbnail: of one layer for one image."""
THUMB_GRID = 4
"""Channels in each of its rows and columns."""

Fixed = Literal["layer", "sample", "condition"]
"""What is the same in all of a sheet."""
AXES: dict[Fixed, tuple[str, str]] = {
    "layer": ("sample", "condition"),
    "sample": ("layer", "condition"),
    "condition": ("sample", "layer"),
}
"""What its rows and columns are then."""

_GAP_PX = 6
_GREY = 128
_T = TypeVar("_T")


class SheetConfig(Config):
    """How large a sheet may become; of more, as many are taken, evenly spread."""

    max_rows: int = Field(12, ge=1, le=100)
    """Rows."""
    max_columns: int = Field(8, ge=1, le=100)
    """Columns, each of which has both models."""


@dataclass(frozen=True)
class Sheet:
    """All that a sheet shows."""

    title: str
    names: tuple[str, str]
    """Of the models."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    thumbs: UInt8[np.ndarray, "rows columns 2 s s"]
    sparsity: npt.NDArray[np.float64]
    """Relative, [rows, columns, 2]."""


def thumbnail(side: Side) -> bytes:
    """Grey PNG of the channels of a side that vary the most."""
    pixels = (tiled(side.scaled, THUMB_GRID) * 255).round().astype(np.uint8)
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMB_SIZE_PX, THUMB_SIZE_PX), Image.Resampling.BOX)
    data = io.BytesIO()
    picture.save(data, "png")
    return data.getvalue()


def opened(thumb: bytes) -> UInt8[np.ndarray, "s s"]:
    """A thumbnail, enlarged if it is small, with grey around it if it is not square."""
    with Image.open(io.BytesIO(thumb)) as picture:
        return np.array(ImageOps.pad(picture, (THUMB_SIZE_PX, THUMB_SIZE_PX), Image.Resampling.NEAREST, color=_GREY))


def spread(items: Sequence[_T], most: int) -> list[_T]:
    """At most so many, the first and the last among them."""
    if len(items) <= most:
        return [*items]
    return [items[round(place * (len(items) - 1) / max(most - 1, 1))] for place in range(most)]


def draw(data: Sheet, config: SheetConfig) -> "Figure":  # noqa: ARG001  every figure is drawn from data and a config
    """Both models beside each other in every cell, with their relative sparsity below."""
    from matplotlib.figure import Figure

    num_rows, num_columns = data.thumbs.shape[:2]
    figure = Figure(figsize=(1.6 + 2.3 * num_columns, 1.2 + 1.35 * num_rows))
    width, height = figure.get_size_inches()
    box = (1.4 / width, 0.15 / height, 1 - 1.6 / width, 1 - 1.15 / height)
    axes: Axes = figure.add_axes(box)
    cell, wide = THUMB_SIZE_PX + 4 * _GAP_PX, 2 * THUMB_SIZE_PX + 3 * _GAP_PX
    canvas = np.full((num_rows * cell, num_columns * wide), np.nan)
    for row, column, side in np.ndindex(*data.thumbs.shape[:3]):
        top, left = row * cell, column * wide + side * (THUMB_SIZE_PX + _GAP_PX // 2)
        canvas[top : top + THUMB_SIZE_PX, left : left + THUMB_SIZE_PX] = data.thumbs[row, column, side] / 255
        said = f"{data.sparsity[row, column, side]:.2%}"
        axes.text(left + THUMB_SIZE_PX / 2, top + THUMB_SIZE_PX + 2, said, ha="center", va="top", size=7)
    axes.imshow(canvas, cmap="viridis", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    for place, name in enumerate(data.columns):
        middle = place * wide + THUMB_SIZE_PX
        axes.text(middle, -8, name, ha="center", va="bottom", size=10, parse_math=False)
    for place, name in enumerate(data.rows):
        axes.text(-10, place * cell + THUMB_SIZE_PX / 2, name, ha="right", va="center", size=10, parse_math=False)
    axes.axis("off")
    title = f"{data.title}: {data.names[0]} | {data.names[1]}"
    figure.suptitle(title, y=1 - 0.2 / height, va="top", fontweight="bold", parse_math=False)
    note = f"The {THUMB_GRID**2} channels that vary the most; below each, the relative sparsity of the layer"
    figure.text(0.5, 1 - 0.55 / height, note, ha="center", va="top", size=8)
    return figure
