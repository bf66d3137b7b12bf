"""Expressions of a clip as a candle for each frame, above all dimensions as a heatmap."""

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mien.analysis import style, variation
from mien.analysis.sequence import Values, sequence
from mien.analysis.style import Colour, ColourMap, FigureConfig, Size
from mien.evaluation.embedded import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _CAP = 0.6, 0.2
"""Of a box and of the end of a whisker, in frames."""
_DENSE_PX = 4
"""Narrower frames have boxes that touch, without edges: gaps of less than a pixel would shimmer."""


class CandlestickConfig(FigureConfig):
    """Size, colours and names of the figure."""

    title: str = Field("Expressions", max_length=200)
    """Begins the title of both panels."""
    size_in: Size = (20, 10)
    """Width and height in inches."""
    cmap: ColourMap = "RdBu_r"
    """Of the heatmap."""
    edge: Colour = "#0000FF"
    """Of boxes and whiskers."""
    face: Colour = "#ADD8E6"
    """Of boxes."""
    mean: Colour = "#FF0000"
    """Of the line at the mean."""
    alpha: float = Field(0.7, gt=0, le=1)
    """Opacity of boxes."""


def numbers(values: Values) -> dict[str, Any]:
    """Statistics of each frame over its dimensions, [T] each, and the variation of the clip.

    Raises:
        DatasetError: The values are not a sequence.
    """
    candles = {name: numbers.tolist() for name, numbers in statistics(sequence(values)).items()}
    return {**variation.numbers(values), "candles": candles}


def statistics(frames: Floats) -> dict[str, Floats]:
    """min, q25, mean, q75, max and std over the dimensions: [T, D] to [T] each."""
    low, q25, q75, high = np.percentile(frames, [0, 25, 75, 100], axis=1)
    return {"min": low, "q25": q25, "mean": frames.mean(1), "q75": q75, "max": high, "std": frames.std(1)}


def draw(values: Values, config: CandlestickConfig) -> "Figure":
    """Candles above (box: quartiles, whiskers: least and greatest, line: mean), the heatmap below.

    Raises:
        DatasetError: The values are not a sequence.
    """
    frames = sequence(values)
    figure = config.canvas()
    above, below = figure.subplots(2, 1)
    _draw_candles(above, statistics(frames), config)
    style.title(above, f"{config.title} - Candlestick View (per frame statistics)")
    style.heatmap(below, frames, config.cmap)
    style.title(below, f"{config.title} - All Dimensions Heatmap")
    variation.caption(figure, values)
    return figure


def _draw_candles(axes: "Axes", of: dict[str, Floats], config: CandlestickConfig) -> None:
    """Six collections, however many frames there are."""
    from matplotlib.collections import PolyCollection

    t = np.arange(len(of["mean"]))
    points_per_frame = 72 * config.size_in[0] / len(t)
    is_dense = points_per_frame * config.dpi / 72 < _DENSE_PX
    half = 0.5 if is_dense else _WIDTH / 2
    left, right = t - half, t + half
    across, up = np.stack([left, left, right, right], 1), np.stack([of["q25"], of["q75"], of["q75"], of["q25"]], 1)
    boxes = PolyCollection(list(np.stack([across, up], 2)), facecolors=config.face, alpha=config.alpha)
    boxes.set(edgecolor="none" if is_dense else config.edge, linewidth=1, antialiased=not is_dense)
    axes.add_collection(boxes)
    thin: dict[str, Any] = {"colors": config.edge, "linewidth": min(0.5, points_per_frame / 10)}
    axes.vlines(t, of["min"], of["q25"], **thin)
    axes.vlines(t, of["q75"], of["max"], **thin)
    for end in ("min", "max"):
        axes.hlines(of[end], t - _CAP / 2, t + _CAP / 2, **thin)
    axes.hlines(of["mean"], left, right, colors=config.mean, linewidth=2)
    axes.set_ylabel("Expression Value")
    style.frame_axis(axes, len(t))
    axes.grid(alpha=0.3)
