"""What candles and the plain heatmap hide: small movement around large offsets that stand still."""

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mien.analysis import style, variation
from mien.analysis.sequence import Values, sequence
from mien.analysis.style import Colour, ColourMap, FigureConfig, Size
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.embedded import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class MovementConfig(FigureConfig):
    """Size, colours and names of the figure."""

    title: str = Field("Expressions", max_length=200)
    """Begins the title of both panels."""
    size_in: Size = (20, 10)
    """Width and height in inches."""
    cmap: ColourMap = "RdBu_r"
    """Of the heatmap; its middle is 0."""
    line: Colour = style.BLUE
    """Of the change from frame to frame."""


def numbers(values: Values) -> dict[str, Any]:
    """Change from each frame to the next [T - 1], greatest deviation from the temporal mean, variation of the clip.

    Raises:
        DatasetError: The values are not a sequence.
    """
    frames = sequence(values)
    deviation = float(np.abs(centred(frames)).max())
    return {**variation.numbers(values), "change": variation.changes(frames).tolist(), "max_deviation": deviation}


def centred(frames: Floats) -> Floats:
    """Each dimension minus its mean over the frames, [T, D]."""
    return np.asarray(frames - frames.mean(0))


def draw(values: Values, config: MovementConfig) -> "Figure":
    """Deviation from each dimension's temporal mean above, change from frame to frame below.

    One frame alone has neither: the figure says so.

    Raises:
        DatasetError: The values are not a sequence.
    """
    frames, found = sequence(values), variation.variation(values)
    figure = config.canvas()
    above, below = figure.subplots(2, 1)
    style.title(above, f"{config.title} - Minus Each Dimension's Temporal Mean")
    style.title(below, f"{config.title} - Change from the Frame Before (L2 over dimensions)")
    if isinstance(found, NotMeasurable):
        from mien.evaluation.figure import draw_reason

        for axes in (above, below):
            draw_reason(axes, found)
        return figure
    moved = centred(frames)
    style.heatmap(above, moved, config.cmap, style.symmetric(moved), "Deviation")
    _draw_change(below, variation.changes(frames), config.line)
    variation.caption(figure, values)
    return figure


def _draw_change(axes: "Axes", change: Floats, colour: str) -> None:
    frame = np.arange(1, len(change) + 1)
    axes.plot(frame, change, color=colour, lw=1, marker="o" if len(change) <= 200 else None, ms=3)
    axes.axhline(change.mean(), color=style.GREY, ls="--", lw=1, label=f"mean {change.mean():.6f}")
    axes.set_ylabel("Change")
    style.frame_axis(axes, len(change) + 1)
    top = max(change.max(), style.NO_CHANGE)
    axes.set_ylim(-0.05 * top, 1.2 * top)  # the legend stands above the line
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
