"""Where, when and in which direction a prediction misses its target."""

from typing import TYPE_CHECKING

from pydantic import Field

from mien.analysis import style
from mien.analysis.style import ColourMap, FigureConfig, Size
from mien.analysis.target_prediction import Pair, numbers, reduced, said_of, tick

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DifferenceMapConfig", "Pair", "draw", "numbers"]


class DifferenceMapConfig(FigureConfig):
    """Size, colours and names of the figure."""

    title: str = Field("Window 0", max_length=200)
    """Begins the title."""
    size_in: Size = (16, 6)
    """Width and height in inches."""
    dpi: int = Field(100, ge=20, le=600)
    """Pixels per inch."""
    cmap: ColourMap = "coolwarm"
    """Of the heatmap; its middle is 0."""
    reduce_to: int | None = Field(32, ge=1)
    """Neighbouring dimensions are averaged to so many rows; None shows them all."""


def draw(pair: Pair, config: DifferenceMapConfig) -> "Figure":
    """One heatmap of prediction minus target; colour limits lie symmetrically around 0.

    Raises:
        DatasetError: One is not a sequence, or they have different shapes.
    """
    target, prediction = pair.frames()
    shown, found = reduced(prediction - target, config.reduce_to), numbers(pair)
    figure = config.canvas()
    axes = figure.subplots()
    style.heatmap(axes, shown, config.cmap, style.symmetric(shown), "Difference")
    tick(axes, shown)
    style.title(axes, f"{config.title} - Predicted minus Target Expression{said_of(shown, pair)}")
    said = f"mean |difference| {found['mean_absolute_difference']:.4g}, std {found['std_difference']:.4g}"
    axes.set_title(said, loc="left", fontsize=10)  # beside the title: a box within would hide frames
    return figure
