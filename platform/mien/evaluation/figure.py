"""One figure of a report: expression, identity and reconstruction, each beside what it is to be held against."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mien.evaluation.bootstrap import Estimate, NotMeasurable
from mien.evaluation.embedded import Floats
from mien.evaluation.image_scores import ImageResult, ImageScore
from mien.evaluation.leakage import LeakageResult
from mien.evaluation.probes import ProbeResult
from mien.evaluation.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "#888888"
"""Of Okabe and Ito (2008): told apart by people who do not see all colours."""
_MIN_R_SQUARED = -1.0
"""R² below that is drawn at the edge: how bad a bad probe is matters to nobody."""


def draw(report: Report) -> "Figure":
    """Probes on the left, one row per blendshape; leakage, PSNR and SSIM on the right.

    The caller saves it: `draw(report).savefig(path)`.
    """
    from matplotlib.figure import Figure

    num_rows = len(report.probe.varied) if isinstance(report.probe, ProbeResult) else 0
    figure = Figure(figsize=(12, max(7.5, 1.8 + 0.27 * num_rows)), dpi=120, layout="constrained")
    level, counts = report.config.bootstrap.level, report.counts
    figure.suptitle(
        f"Held-out clips: {counts.num_held_out_clips}, training clips: {counts.num_training_clips}, "
        f"subjects: {counts.num_subjects}; lines: {level:.0%} intervals over clips"
    )
    grid = figure.add_gridspec(3, 2, width_ratios=[1.5, 1])
    _draw_probe(figure.add_subplot(grid[:, 0]), report.probe, report.blendshapes)
    _draw_leakage(figure.add_subplot(grid[0, 1]), report.leakage)
    _draw_images([figure.add_subplot(grid[row, 1]) for row in (1, 2)], report.images)
    return figure


def _draw_probe(axes: "Axes", probe: ProbeResult | NotMeasurable, names: Sequence[str]) -> None:
    axes.set_title("Blendshapes read from the token, on held-out clips", pad=30)  # the legend stands below it
    if isinstance(probe, NotMeasurable):
        return draw_reason(axes, probe)
    order = np.argsort([estimate.value for estimate in probe.tokens.per_blendshape])
    rows = np.arange(len(order))
    systems = [("shuffled", _GREY, "s", -0.24), ("baseline", _ORANGE, "D", 0.0), ("tokens", _BLUE, "o", 0.24)]
    for name, colour, marker, shift in systems:
        score = getattr(probe, name)
        values, lengths = _with_lengths([score.per_blendshape[place] for place in order], _MIN_R_SQUARED)
        label = f"{name} (mean {round(score.mean.value, 2) + 0.0:.2f})"  # + 0.0 makes no -0.00
        axes.errorbar(values, rows + shift, xerr=lengths, fmt=marker, color=colour, ms=4, lw=1.2, label=label)
    axes.axvline(0, color="black", lw=0.8)
    axes.set_yticks(rows, [names[probe.varied[place]] for place in order], fontsize=8)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(left=max(axes.get_xlim()[0], _MIN_R_SQUARED - 0.05), right=1.02)
    axes.set_xlabel(f"R² (0: mean of the training clips); left out, for they hardly vary: {len(probe.left_out)}")
    axes.grid(axis="x", alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return None


def _draw_leakage(axes: "Axes", leakage: LeakageResult | NotMeasurable) -> None:
    axes.set_title("Subject read from the token")
    if isinstance(leakage, NotMeasurable):
        return draw_reason(axes, leakage)
    _draw_bars(axes, {name: getattr(leakage, name) for name in ("tokens", "baseline", "shuffled")})
    axes.axvline(leakage.chance, color="black", ls="--", lw=1)
    axes.set_xlim(0, 1.18)  # room for the numbers
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel(f"Balanced accuracy; lower leaks less\n(dashed: chance, 1 of {leakage.num_subjects})")
    return None


def _draw_images(axes: Sequence["Axes"], images: ImageResult | NotMeasurable) -> None:
    for one, name, label in zip(axes, ("psnr_db", "ssim"), ("PSNR (dB)", "SSIM"), strict=True):
        one.set_title(f"Reconstruction, {label}")
        if isinstance(images, NotMeasurable):
            draw_reason(one, images)
            continue
        score: ImageScore = getattr(images, name)
        systems = ("reconstruction", "subject_mean", "overall_mean")
        _draw_bars(one, {system.replace("_", " "): getattr(score, system) for system in systems})
        one.margins(x=0.18)
        one.set_xlabel(f"{label}, mean over clips; higher is nearer")


def _draw_bars(axes: "Axes", estimates: dict[str, Estimate]) -> None:
    """One bar each, from top to bottom, with its interval and its number beside it."""
    values, lengths = _with_lengths(list(estimates.values()), -np.inf)
    rows, style = np.arange(len(values)), {"ecolor": "black", "capsize": 3, "lw": 1}
    axes.barh(rows, values, 0.62, xerr=lengths, color=[_BLUE, _ORANGE, _GREY], alpha=0.8, error_kw=style)
    for row, value, length in zip(rows, values, lengths[1], strict=True):
        axes.annotate(f"{value:.2f}", (value + length, row), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(rows, list(estimates))
    axes.invert_yaxis()


def _with_lengths(estimates: Sequence[Estimate], least: float) -> tuple[Floats, Floats]:
    """Values [n] and the lengths [2, n] of their intervals below and above, 0 where there is none."""
    value, low, high = np.array([[one.value, one.low, one.high] for one in estimates]).T
    value, low, high = (np.maximum(numbers, least) for numbers in (value, low, high))
    return value, np.maximum(np.nan_to_num(np.stack([value - low, high - value])), 0)


def draw_reason(axes: "Axes", result: NotMeasurable) -> None:
    """Say in place of a panel why there is none."""
    axes.set_axis_off()
    text = "not measurable:\n" + textwrap.fill(result.reason, 40)
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
