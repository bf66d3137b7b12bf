"""What all figures share: bounds of their options, titles, colour limits, heatmaps, and how they are written."""

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.evaluation.embedded import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mien.storage.uri import Store

Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
ColourMap = Literal["RdBu_r", "coolwarm", "viridis", "magma", "cividis", "gray"]
Size = tuple[Annotated[float, Field(gt=0, le=100)], Annotated[float, Field(gt=0, le=100)]]
"""Width and height in inches."""

BLUE, GREY, RED = "#0072B2", "#666666", "#B00020"
SERIES = (BLUE, "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
"""Of Okabe and Ito (2008): told apart by people who do not see all colours; after the last the first comes again."""
FACELESS = "drawn of numbers; shows no face"
"""Description in every PNG of a figure: a report shows others only where faces may be shown."""
NO_CHANGE = 1e-5
"""Differences up to this are none: such frames count as constant, and no colour map is stretched over less."""


class FigureConfig(Config):
    """What every figure can be told."""

    title: str = Field(max_length=200)
    """Begins the title of every panel."""
    size_in: Size
    """Width and height in inches."""
    dpi: int = Field(150, ge=20, le=600)
    """Pixels per inch."""

    def canvas(self, stretch: float = 1) -> "Figure":
        """An empty figure, `stretch` times as wide; its panels line up, and nothing that stands on it is cut off."""
        from matplotlib.figure import Figure

        width, height = self.size_in
        return Figure(figsize=(width * stretch, height), dpi=self.dpi, layout="constrained")

    def panels(self, num: int, columns: int) -> tuple["Figure", list["Axes"]]:
        """A figure of rows of panels, `size_in` each, and as many axes as asked for."""
        from matplotlib.figure import Figure

        columns = min(columns, num)
        rows = -(-num // columns)
        size = self.size_in[0] * columns, self.size_in[1] * rows
        figure = Figure(figsize=size, dpi=self.dpi, layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for left_over in axes[num:]:
            left_over.remove()
        return figure, axes[:num]


def title(axes: "Axes", text: str) -> None:
    """A title as it is: a name with dollar signs is no formula."""
    axes.set_title(text, parse_math=False)


def caption(figure: "Figure", text: str, is_warning: bool = False) -> None:
    """Text below all panels; a warning is red."""
    figure.supxlabel(text, fontsize=11, color=RED if is_warning else GREY, parse_math=False)


def symmetric(values: Floats) -> tuple[float, float]:
    """Colour limits around 0, so that 0 is the middle of the colour map and rounding is no pattern."""
    limit = max(float(np.abs(values).max()), NO_CHANGE)
    return -limit, limit


def heatmap(
    axes: "Axes", frames: Floats, cmap: ColourMap, limits: tuple[float, float] | None = None, label: str = "Value"
) -> None:
    """Frames [T, D] from left to right, dimensions from top to bottom, and a colour bar with its label."""
    low, high = limits or (None, None)
    image = axes.imshow(frames.T, aspect="auto", cmap=cmap, interpolation="nearest", vmin=low, vmax=high)
    axes.set_ylabel("Expression Dimension")
    frame_axis(axes, len(frames))
    axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.01, label=label)


def frame_axis(axes: "Axes", num_frames: int) -> None:
    """Frames from 0 on; there is none between two."""
    from matplotlib.ticker import MaxNLocator

    axes.set(xlabel="Frame", xlim=(-0.5, num_frames - 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def png(figure: "Figure") -> bytes:
    """The figure at its own size; it says of itself that it is drawn of numbers, and shows no face."""
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Description": FACELESS})
    return file.getvalue()


class Picture(NamedTuple):
    """A figure that is drawn, and written when all others are, too."""

    name: str
    """Of its files, without their endings."""
    png: bytes
    json: bytes | None = None
    """The numbers behind it; there are none behind photographs."""


def picture(name: str, figure: "Figure", numbers: Mapping[str, Any]) -> Picture:
    """A figure and the numbers behind it, as bytes."""
    return Picture(name, png(figure), json.dumps(numbers, indent=1, allow_nan=False).encode())


def write(store: "Store", drawn: Picture) -> None:
    """Write `name.png`, and the numbers behind it beside it as `name.json`.

    Raises:
        StorageError: A file cannot be written.
    """
    store.replace(f"{drawn.name}.png", drawn.png)
    if drawn.json is not None:
        store.replace(f"{drawn.name}.json", drawn.json)


def save(store: "Store", name: str, figure: "Figure", numbers: Mapping[str, Any]) -> None:
    """The same of a figure. Raises as `write`."""
    write(store, picture(name, figure, numbers))
