"""Similarity, norms and distances before and after, as bars with their intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.embedding_map import AFTER, BEFORE, TEXT
from mien.analysis.style import FigureConfig, Size
from mien.evaluation.alignment import System
from mien.evaluation.bootstrap import Estimate
from mien.evaluation.report import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BETTER, WORSE = "#27ae60", style.RED


class DistributionConfig(FigureConfig):
    """The figure of the metrics."""

    title: str = Field("", max_length=200)
    """Before the title of every panel."""
    size_in: Size = (14, 10)
    """Width and height in inches; half as high without a bridge."""


class Bar(NamedTuple):
    """One bar."""

    label: str
    value: Estimate
    colour: str


def numbers(before: System, after: System | None, text_norm: float) -> dict[str, Any]:
    """What the bars show."""
    return {
        "text_norm": text_norm,
        "before": plain(before.measures),
        "after": plain(after.measures) if after else None,
        "minus_before": plain(after.minus_before) if after else None,
    }


def draw(before: System, after: System | None, text_norm: float, config: DistributionConfig) -> "Figure":
    """Four panels; two where there is no bridge.

    Args:
        before: Rows as they were.
        after: After a bridge.
        text_norm: Mean length of the texts.
        config: Of the figure.
    """
    sides = [("Before", before, BEFORE), *([("After", after, AFTER)] if after else [])]
    figure = config.canvas() if after else config.model_copy(update={"size_in": _halved(config.size_in)}).canvas()
    panels = figure.subplots(2 if after else 1, 2, squeeze=False).ravel()

    def bars(name: str, kind: str = "") -> list[Bar]:
        return [Bar(f"{kind}{label}", getattr(one.measures, name), colour) for label, one, colour in sides]

    norms = [*bars("norm", "Visual\n"), Bar("Text\n(Target)", Estimate(text_norm, text_norm, text_norm), TEXT)]
    _draw(panels[0], bars("similarity"), f"{config.title}Max Cosine Similarity (Visual → Text)", 3)
    panels[0].set_ylim(min(0.0, panels[0].get_ylim()[0]), 1)
    _draw(panels[1], norms, f"{config.title}Feature Norms", 2)
    if after and after.minus_before:
        panels[1].set_xlabel("after a bridge the length is 1 by construction", color=style.GREY)
        _draw(panels[2], bars("text_distance"), f"{config.title}Visual → Text Cosine Distance", 3)
        _draw_effect(panels[3], after.minus_before.similarity, after.minus_before.text_distance)
        style.title(panels[3], f"{config.title}Diffusion Effect (up = Better)")
    style.caption(figure, "bars: mean; lines: interval over images")
    return figure


def _draw(axes: "Axes", bars: Sequence[Bar], title: str, digits: int) -> None:
    style.title(axes, title)
    _draw_bars(axes, bars, f".{digits}f")
    highest, lowest = (max(_top(bar.value) for bar in bars), min(_bottom(bar.value) for bar in bars))
    axes.set_ylim(1.18 * lowest if lowest < 0 else 0.0, 1.18 * highest if highest > 0 else 0.1)


def _draw_effect(axes: "Axes", similarity: Estimate, distance: Estimate) -> None:
    """Both up where they are better."""
    reduction = Estimate(-distance.value, -distance.high, -distance.low)
    changes = {"Similarity\nImprovement": similarity, "Distance\nReduction": reduction}
    bars = [Bar(label, one, BETTER if one.value > 0 else WORSE) for label, one in changes.items()]
    _draw_bars(axes, bars, "+.4f")
    axes.axhline(0, color="black", ls="--", lw=1)
    reach = max(max(abs(one.value), *np.nan_to_num(np.abs([one.low, one.high]))) for one in changes.values())
    axes.set_ylim(-1.4 * max(reach, style.NO_CHANGE), 1.4 * max(reach, style.NO_CHANGE))
    if any(not (one.low > 0 or one.high < 0) for one in changes.values()):
        axes.set_xlabel("pale: the interval holds 0", color=style.GREY)


def _draw_bars(axes: "Axes", bars: Sequence[Bar], form: str) -> None:
    values = np.array([bar.value.value for bar in bars])
    ends = np.array([[bar.value.low, bar.value.high] for bar in bars]).T
    lengths = np.maximum(np.nan_to_num(np.stack([values - ends[0], ends[1] - values])), 0)
    pale = [1.0 if bar.value.low > 0 or bar.value.high < 0 else 0.45 for bar in bars]
    drawn = axes.bar([bar.label for bar in bars], values, color=[bar.colour for bar in bars], width=0.6)
    for patch, alpha in zip(drawn, pale, strict=True):
        patch.set_alpha(alpha if form.startswith("+") else 1.0)
    axes.set_xlim(-0.8, len(bars) - 0.2)
    axes.errorbar(range(len(bars)), values, yerr=lengths, fmt="none", ecolor="black", capsize=4, lw=1.2)
    for place, (value, length) in enumerate(zip(values, lengths.T, strict=True)):
        is_up = value >= 0
        end = value + length[1] if is_up else value - length[0]
        axes.annotate(
            f"{value:{form}}", (place, end), (0, 4 if is_up else -4), textcoords="offset points",
            ha="center", va="bottom" if is_up else "top",
        )  # fmt: skip
    axes.grid(axis="y", alpha=0.3)


def _top(estimate: Estimate) -> float:
    return estimate.value if np.isnan(estimate.high) else max(estimate.value, estimate.high)


def _bottom(estimate: Estimate) -> float:
    return estimate.value if np.isnan(estimate.low) else min(estimate.value, estimate.low)


def _halved(size: tuple[float, float]) -> tuple[float, float]:
    return size[0], size[1] / 2
