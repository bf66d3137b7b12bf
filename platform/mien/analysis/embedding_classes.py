"""Classes side by side: who gains by a bridge and who loses, the rare and the unseen apart."""

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.embedding_distribution import BETTER, WORSE
from mien.analysis.style import FigureConfig, Size
from mien.evaluation.bootstrap import Estimate, NotMeasurable
from mien.evaluation.classes import ClassChange, ClassReport
from mien.evaluation.report import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"better": BETTER, "worse": WORSE, "not distinguishable": "#888888"}
_NAME_CHARS = 28
_REACH = 1.6
"""Length of the axis of classes over the largest change; intervals that are longer are cut."""


class ClassFigureConfig(FigureConfig):
    """The figure of classes."""

    title: str = Field("", max_length=200)
    """Before the title of every panel."""
    size_in: Size = (13, 8)
    """Width and height in inches."""


def numbers(report: ClassReport) -> dict[str, Any]:
    """Every class and every group."""
    found: dict[str, Any] = plain(report)
    return found


def draw(report: ClassReport, num_listed: int, config: ClassFigureConfig) -> "Figure":
    """Best and worst classes on the left; groups, and all classes before against after, on the right.

    Args:
        report: Of one bridge.
        num_listed: Classes of each end that are named.
        config: Of the figure.
    """
    figure = config.canvas()
    grid = figure.add_gridspec(2, 2, width_ratios=[1.4, 1])
    _draw_classes(figure.add_subplot(grid[:, 0]), report, num_listed, config.title)
    _draw_groups(figure.add_subplot(grid[0, 1]), report, config.title)
    _draw_pairs(figure.add_subplot(grid[1, 1]), report, config.title)
    return figure


def listed(report: ClassReport, num: int) -> list[ClassChange]:
    """The best and the worst, or all if there are no more."""
    classes = list(report.classes)
    return classes if len(classes) <= 2 * num else [*classes[:num], *classes[-num:]]


def _draw_classes(axes: "Axes", report: ClassReport, num: int, prefix: str) -> None:
    shown = listed(report, num)
    for row, one in enumerate(shown):
        _draw_estimate(axes, row, one.difference, _COLOURS[one.change])
    labels = [f"{_short(one.name)} ({one.num_rows}{', rare' if one.is_rare else ''})" for one in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    if len(shown) < len(report.classes):
        axes.axhline(num - 0.5, color="black", ls=":", lw=1)
    style.title(axes, f"{prefix}Best and Worst of {len(report.classes)} Classes (rows)")
    better = sum(one.change == "better" for one in report.classes)
    told = f"Change of the cosine to the own text\n{better} better, {len(report.worse)} worse; grey: cannot be told"
    widest = _REACH * max(max(abs(one.difference.value) for one in shown), style.NO_CHANGE)
    axes.set_xlim(-widest, widest)  # of two rows the interval is so long that no other would be seen
    _finish(axes, told)


def _draw_groups(axes: "Axes", report: ClassReport, prefix: str) -> None:
    groups = [one for one in report.groups if one.num_classes]
    for row, one in enumerate(groups):
        for value, colour, shift in ((one.alignment, style.BLUE, -0.15), (one.top_1, "#E69F00", 0.15)):
            if not isinstance(value, NotMeasurable):
                _draw_estimate(axes, row + shift, value, colour)
    for colour, label in ((style.BLUE, "cosine"), ("#E69F00", "top-1")):
        axes.plot([], [], "o", color=colour, label=label)
    axes.legend(loc="upper center", ncols=2, fontsize=8)
    axes.set_yticks(range(len(groups)), [f"{one.name} ({one.num_classes})" for one in groups])
    axes.set_ylim(len(groups) - 0.4, -0.6 - 0.25 * len(groups))  # room for the legend
    style.title(axes, f"{prefix}Groups (classes)")
    _finish(axes, "Change of cosine and of top-1")


def _draw_pairs(axes: "Axes", report: ClassReport, prefix: str) -> None:
    values = np.array([[one.before, one.after] for one in report.classes])
    colours = [_COLOURS[one.change] for one in report.classes]
    axes.scatter(values[:, 0], values[:, 1], 18, colours, alpha=0.7, linewidths=0)
    ends = [values.min(), values.max()]
    axes.plot(ends, ends, color="black", ls="--", lw=1)
    found = report.correlation
    told = f"\nSpearman of both gains: {found}" if isinstance(found, Estimate) else ""
    axes.set(xlabel=f"Cosine to the own text, before{told}", ylabel="after")
    style.title(axes, f"{prefix}Every Class")
    axes.grid(alpha=0.3)


def _draw_estimate(axes: "Axes", row: float, value: Estimate, colour: str) -> None:
    reach = np.nan_to_num(np.array([[value.value - value.low], [value.high - value.value]]))
    axes.errorbar(value.value, row, xerr=np.maximum(reach, 0), fmt="o", ms=4, lw=1.2, capsize=2, color=colour)


def _finish(axes: "Axes", label: str) -> None:
    axes.axvline(0, color="black", lw=0.8)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)


def _short(name: str) -> str:
    """Its two ends: names of one family begin alike."""
    half = _NAME_CHARS // 2
    return name if len(name) <= _NAME_CHARS else f"{name[: half - 1]}…{name[-half:]}"
