"""One plain heatmap for each clip of a batch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from mien.analysis import style, variation
from mien.analysis.sequence import Values, numeric, sequence
from mien.analysis.style import ColourMap, FigureConfig, Size
from mien.analysis.variation import numbers
from mien.evaluation.embedded import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ExpressionHeatmapConfig", "draw", "numbers", "of_batch"]


class ExpressionHeatmapConfig(FigureConfig):
    """Size, colours and names of the figure."""

    title: str = Field("Expressions", max_length=200)
    """The title."""
    size_in: Size = (16, 4)
    """Width and height in inches."""
    dpi: int = Field(100, ge=20, le=600)
    """Pixels per inch."""
    cmap: ColourMap = "RdBu_r"
    """Of the heatmap."""


def draw(values: Values, config: ExpressionHeatmapConfig) -> "Figure":
    """All dimensions over the frames.

    Raises:
        DatasetError: The values are not a sequence.
    """
    frames = sequence(values)
    figure = config.canvas()
    axes = figure.subplots()
    style.heatmap(axes, frames, config.cmap)
    style.title(axes, config.title)
    variation.caption(figure, values)
    return figure


def of_batch(batch: Values, number: int, prefix: str) -> Iterator[tuple[str, Floats]]:
    """A name, `PREFIX_batchN_sampleM`, and frames [T, D] for each item of a batch [B, T, D] (or of one clip, [T, D]).

    Raises:
        DatasetError: The values are not sequences.
    """
    sequence(batch)
    values = numeric(batch, "expressions")
    for sample, frames in enumerate(values if values.ndim == 3 else values[None]):
        yield f"{prefix}_batch{number}_sample{sample}", frames
