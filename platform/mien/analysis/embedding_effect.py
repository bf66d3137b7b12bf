"""What a bridge does row by row: similarity and length as distributions, who moved where, and who changed the text."""

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.embedding_map import AFTER, BEFORE
from mien.analysis.style import FigureConfig, Size
from mien.evaluation.alignment import Rows
from mien.evaluation.embedded import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_POINTS = 20_000


class EffectConfig(FigureConfig):
    """The figure of single rows."""

    title: str = Field("", max_length=200)
    """Before the title of every panel."""
    size_in: Size = (12, 10)
    """Width and height in inches."""
    num_bins: int = Field(30, ge=2, le=500)
    """Of the histograms."""


def numbers(before: Rows, after: Rows) -> dict[str, Any]:
    """Of each row, [n]; and how many changed their nearest text, and whether to the right one."""
    known = before.rank >= 0
    was, became = before.rank == 0, after.rank == 0
    return {
        "num_changed": int((before.nearest != after.nearest).sum()),
        "num_became_right": int((known & ~was & became).sum()),
        "num_became_wrong": int((known & was & ~became).sum()),
        **{
            side: {name: getattr(rows, name).tolist() for name in ("similarity", "norm", "nearest", "rank")}
            for side, rows in (("before", before), ("after", after))
        },
    }


def draw(before: Rows, after: Rows, config: EffectConfig) -> "Figure":
    """Histograms above, pairs and changes of the nearest text below."""
    figure = config.canvas()
    panels = figure.subplots(2, 2).ravel()
    for axes, name, label in zip(
        panels, ("similarity", "norm"), ("Max Cosine Similarity", "Feature Norm"), strict=False
    ):
        _draw_histograms(axes, getattr(before, name), getattr(after, name), config.num_bins)
        style.title(axes, f"{config.title}{label}")
    if np.ptp(after.norm) < style.NO_CHANGE:
        panels[1].set_xlabel("after a bridge all lengths are one, by construction", color=style.GREY)
    _draw_pairs(panels[2], before.similarity, after.similarity)
    style.title(panels[2], f"{config.title}Similarity Before and After")
    _draw_changes(panels[3], before, after, config.title)
    return figure


def _draw_histograms(axes: "Axes", before: Floats, after: Floats, num_bins: int) -> None:
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    edges = np.linspace(low, high if high - low > style.NO_CHANGE else low + style.NO_CHANGE, num_bins + 1)
    for values, colour, label in ((before, BEFORE, "Before"), (after, AFTER, "After")):
        axes.hist(values, [*edges], alpha=0.5, color=colour, label=label)
        axes.axvline(values.mean(), color=colour, lw=1.5)
    axes.set_ylabel("Rows")
    axes.legend(title="lines: means")
    axes.grid(alpha=0.3)


def _draw_pairs(axes: "Axes", before: Floats, after: Floats) -> None:
    step = -(-len(before) // _MAX_POINTS)
    axes.scatter(before[::step], after[::step], s=8, alpha=0.4, color=style.BLUE, rasterized=True, linewidths=0)
    ends = [min(before.min(), after.min()), max(before.max(), after.max())]
    axes.plot(ends, ends, color="red", ls="--", lw=1.2, label="no change")
    share = float((after > before).mean())
    axes.set(xlabel="Before", ylabel="After")
    axes.legend(title=f"nearer to a text: {share:.0%} of the rows")
    axes.grid(alpha=0.3)


def _draw_changes(axes: "Axes", before: Rows, after: Rows, prefix: str) -> None:
    found = numbers(before, after)
    changed, num = found["num_changed"], len(before.nearest)
    drawn = axes.bar(["Unchanged", "Changed"], [num - changed, changed], color=[style.GREY, style.BLUE], width=0.6)
    axes.bar_label(drawn, padding=3)
    axes.margins(y=0.12)
    axes.set_ylabel("Rows")
    if (before.rank >= 0).any():
        told = f"became right: {found['num_became_right']}, became wrong: {found['num_became_wrong']}"
        axes.set_xlabel(told)
    style.title(axes, f"{prefix}Nearest Text: {changed} of {num} Rows Changed")
