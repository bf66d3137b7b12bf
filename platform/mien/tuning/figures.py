"""Figures of a sweep, from its trials alone. The caller saves them: `figure.savefig(path)`.

Which trial is the best is told by its number, as `trials.rank` finds it.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mien.analysis.trials import Direction, Trial, measured, pareto
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.embedded import Floats
from mien.losses.weights import Schedule
from mien.tuning.importance import Importance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#0072B2", "#E69F00", "#888888"
"""Of Okabe and Ito (2008), as in `evaluation.figure`."""
_MARKERS = {"done": "o", "stopped": "v", "running": "s"}
_COLUMNS = 3
_NUM_TICKS, _MAX_NAMES, _NAME_CHARS = 5, 8, 18
_TITLE_CHARS = 90


class Axis(NamedTuple):
    """One key, or a metric, on an axis from 0 to 1."""

    places: Floats
    """[n], of the trials; NaN where a trial has no value."""
    ticks: list[tuple[float, str]]
    """Place and label."""
    is_log: bool


def parallel_coordinates(trials: Sequence[Trial], metric: str, direction: Direction, best: int) -> "Figure":
    """One line per trial through its values to its metric; good ones are dark and on top, the best is thick."""
    known = _from_worst(trials, metric, direction, best)
    keys = _varied(known)
    figure = _figure(max(7.0, 1.5 * (len(keys) + 2)), 5)
    axes = figure.subplots()
    if not known:
        return _without(figure, axes, f"no trial has {metric}")
    axis_of = {key: axis([trial.flat.get(key) for trial in known]) for key in keys}
    axis_of[metric] = axis([trial.metrics[metric] for trial in known])
    lines = np.array([one.places for one in axis_of.values()]).T
    for row, (line, colour) in enumerate(zip(lines, _shades(len(known)), strict=True)):
        is_best = row == len(known) - 1
        axes.plot(line, color=colour, lw=2.5 if is_best else 1, marker="o" if len(keys) == 0 else "", zorder=2 + row)
    for place, one in enumerate(axis_of.values()):
        _draw_axis(axes, place, one)
    names = [*short_names(keys).values(), metric]
    logs = ["\n(log)" if one.is_log else "" for one in axis_of.values()]
    labels = [_wrapped(name) + log for name, log in zip(names, logs, strict=True)]
    axes.set_xticks(range(len(axis_of)), labels, fontsize=9)
    axes.set(xlim=(-0.3, len(axis_of) - 0.3), ylim=(-0.05, 1.05), yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="x", length=0, pad=8)
    _title(axes, f"trials: {len(known)}; dark: good ({metric} {direction}), thick: trial {best}")
    return figure


def metric_against(trials: Sequence[Trial], metric: str, direction: Direction, best: int) -> "Figure":
    """The metric against each searched key, trial by trial; the best one is ringed."""
    known = _from_worst(trials, metric, direction, best)
    keys = _varied(known)
    rows = max(1, math.ceil(len(keys) / _COLUMNS))
    figure = _figure(4.2 * min(_COLUMNS, max(1, len(keys))), 1 + 3.1 * rows)
    if not keys:
        return _without(figure, figure.subplots(), "no key varied among the trials")
    grid = figure.subplots(rows, min(_COLUMNS, len(keys)), squeeze=False, sharey=True)
    for axes, (key, name) in zip(grid.flat, short_names(keys).items(), strict=False):
        _draw_scatter(axes, known, key, metric)
        axes.set_xlabel(name + (" (log)" if axis([trial.flat.get(key) for trial in known]).is_log else ""))
    for axes in list(grid.flat)[len(keys) :]:
        axes.set_axis_off()
    figure.supylabel(f"{metric} ({direction} is best)", fontsize=10)
    _legend_of_states(figure, known)
    return figure


def learning_curves(trials: Sequence[Trial], metric: str, direction: Direction, best: int) -> "Figure":
    """The metric over the steps, all trials; the best is thick, and where one was stopped or failed there is a mark."""
    figure = _figure(9, 5)
    axes = figure.subplots()
    curves = [(trial, *trial.curve(metric)) for trial in trials]
    drawn = [(trial, steps, values) for trial, steps, values in curves if steps]
    if not drawn:
        return _without(figure, axes, f"no trial has {metric}")
    for trial, steps, values in drawn:
        is_best = trial.number == best
        colour = _ORANGE if trial.state == "failed" else _BLUE if trial.state == "done" else _GREY
        label = f"best: trial {trial.number}" if is_best else None
        axes.plot(steps, values, color=colour, lw=2.8 if is_best else 1, alpha=1 if is_best else 0.5, label=label)
        if trial.state in {"stopped", "failed"} or len(steps) == 1:
            marker = "x" if trial.state == "failed" else _MARKERS[trial.state]
            axes.plot(steps[-1], values[-1], marker, color=colour, ms=5)
    _mark_states(axes, [trial for trial, _, _ in drawn])
    _clip_outliers(axes, [value for _, _, values in drawn for value in values], direction)
    axes.set(xlabel="step", ylabel=f"{metric} ({direction} is best)")
    axes.grid(alpha=0.3)
    silent = len(trials) - len(drawn)
    _title(axes, f"trials: {len(drawn)}" + (f"; {silent} reported nothing" if silent else ""))
    return figure


def importance_bars(found: Importance | NotMeasurable, metric: str) -> "Figure":
    """By how much R² falls without each key, the most important on top; what is to be doubted stands in the title."""
    num = len(found.keys) if isinstance(found, Importance) else 4
    figure = _figure(8, 1.8 + 0.4 * num)
    axes = figure.subplots()
    if isinstance(found, NotMeasurable):
        return _without(figure, axes, found.reason)
    rows = np.arange(num)
    axes.barh(
        rows,
        found.mean,
        0.62,
        xerr=found.std,
        color=_BLUE,
        alpha=0.8,
        error_kw={"ecolor": "black", "capsize": 3, "lw": 1},
    )
    axes.set_yticks(rows, list(short_names(found.keys).values()))
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(f"fall of R² for {metric} in held-out trials where the key is shuffled (lines: std)")
    _title(axes, f"A forest on all keys: R² {found.r_squared:.2f}" + (f"; {found.note}" if found.note else ""))
    return figure


def pareto_front(trials: Sequence[Trial], metrics: Mapping[str, Direction]) -> "Figure":
    """Every two metrics against each other; the front of all metrics together is orange, with the trials' numbers."""
    pairs = list(combinations(metrics, 2))
    figure = _figure(5.5 * max(1, len(pairs)), 4.8)
    known = measured(trials, *metrics)
    if not pairs or not known:
        return _without(figure, figure.subplots(), "a front needs trials with two metrics or more")
    front = pareto(trials, metrics)
    corners = {"lowest": "steps-post", "highest": "steps-pre"}  # between two trials nothing better than either is known
    for axes, (left, right) in zip(figure.subplots(1, len(pairs), squeeze=False).flat, pairs, strict=True):
        points = sorted((trial.metrics[left], trial.metrics[right], trial.number) for trial in front)
        axes.scatter(*_points(known, left, right), s=22, color=_GREY, alpha=0.6, label=f"trials: {len(known)}")
        axes.scatter(*_points(front, left, right), s=46, color=_ORANGE, zorder=3, label=f"front: {len(front)}")
        if len(metrics) == 2:
            axes.plot(
                [x for x, _, _ in points], [y for _, y, _ in points], color=_ORANGE, lw=1, ds=corners[metrics[left]]
            )
        for x, y, number in points:
            axes.annotate(str(number), (x, y), (5, 5), textcoords="offset points", fontsize=8)
        axes.set(xlabel=f"{left} ({metrics[left]} is best)", ylabel=f"{right} ({metrics[right]} is best)")
        axes.margins(0.1)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def best_schedules(
    best: Mapping[str, Schedule], before: Mapping[str, Schedule], num_steps: int, title: str
) -> "Figure":
    """Weights over the steps: of the best trial, and dashed those that the sweep began with; one panel for each."""
    rows = max(1, math.ceil(len(best) / _COLUMNS))
    figure = _figure(4.2 * min(_COLUMNS, max(1, len(best))), 1.2 + 2.9 * rows)
    if not best:
        return _without(figure, figure.subplots(), "there is no weight")
    grid = figure.subplots(rows, min(_COLUMNS, len(best)), squeeze=False)
    steps = np.unique(np.linspace(0, num_steps, 400).astype(int))
    for axes, (name, schedule) in zip(grid.flat, best.items(), strict=False):
        axes.plot(steps, _values(schedule, steps, num_steps), color=_BLUE, lw=2.2, label="best")
        if name in before:
            axes.plot(steps, _values(before[name], steps, num_steps), "--", color=_ORANGE, lw=1.5, label="before")
        axes.set(title=name, xlabel="step")
        if axes.dataLim.y0 >= 0:
            axes.set_ylim(bottom=0)  # how far a weight falls is seen from there
        axes.grid(alpha=0.3)
    for axes in list(grid.flat)[len(best) :]:
        axes.set_axis_off()
    figure.suptitle(textwrap.fill(title, _TITLE_CHARS), fontsize=11)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def axis(values: Sequence[Any]) -> Axis:
    """Values of one key on an axis: numbers linear or logarithmic, anything else by name."""
    given = [value for value in values if value is not None]
    if not given or not all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return _named(values)
    numbers = np.array([math.nan if value is None else value for value in values], float)
    is_log = _is_logarithmic(numbers[~np.isnan(numbers)])
    scaled = np.log10(numbers) if is_log else numbers
    low, high = np.nanmin(scaled), np.nanmax(scaled)
    distinct = np.unique(scaled[~np.isnan(scaled)])
    shown = distinct if len(distinct) <= _NUM_TICKS else np.linspace(low, high, _NUM_TICKS)
    reach = high - low or 1.0
    ticks = [((at - low) / reach, f"{10**at if is_log else at:.3g}") for at in shown]
    return Axis((scaled - low) / reach, ticks, is_log)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its last parts, two where there are two, and as many as tell it from the others."""
    found = {}
    for key in keys:
        parts = key.split(".")
        tails = (".".join(parts[-count:]) for count in range(min(2, len(parts)), len(parts) + 1))
        found[key] = next(tail for tail in tails if sum(f".{other}".endswith(f".{tail}") for other in keys) == 1)
    return found


def _is_logarithmic(numbers: Floats) -> bool:
    """Whether the median lies nearer to the middle of a logarithmic axis, over more than an order of magnitude."""
    low, middle, high = np.quantile(numbers, [0, 0.5, 1])
    if low <= 0 or high / low < 10:
        return False
    linear, logarithmic = (middle - low) / (high - low), math.log(middle / low) / math.log(high / low)
    return bool(abs(logarithmic - 0.5) < abs(linear - 0.5))


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def _without(figure: "Figure", axes: "Axes", reason: str) -> "Figure":
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(reason, 50), ha="center", va="center", transform=axes.transAxes)
    return figure


def _title(axes: "Axes", text: str) -> None:
    axes.set_title(textwrap.fill(text, _TITLE_CHARS), fontsize=11)


def _from_worst(trials: Sequence[Trial], metric: str, direction: Direction, best: int) -> list[Trial]:
    """Measured trials, the one that won last: an early report of one that was stopped may be lower."""
    sign = -1 if direction == "lowest" else 1
    return sorted(measured(trials, metric), key=lambda trial: (trial.number == best, sign * trial.metrics[metric]))


def _varied(trials: Sequence[Trial]) -> list[str]:
    """Keys with two values or more, in the order of the space."""
    rows = [trial.flat for trial in trials]
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if len({repr(row.get(key)) for row in rows}) > 1]


def _shades(num: int) -> Floats:
    """Colours [num, 4] from the worst to the best."""
    from matplotlib import colormaps

    colours: Floats = colormaps["viridis_r"](np.linspace(0, 0.9, num) if num > 1 else np.array([0.9]))
    return colours


def _draw_axis(axes: "Axes", place: int, one: Axis) -> None:
    axes.axvline(place, color="black", lw=0.8, zorder=1)
    box = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    for height, label in one.ticks:
        axes.annotate(
            label, (place, height), (4, 0), textcoords="offset points", va="center", fontsize=8, bbox=box, zorder=1000
        )


def _draw_scatter(axes: "Axes", trials: Sequence[Trial], key: str, metric: str) -> None:
    one = axis([trial.flat.get(key) for trial in trials])
    heights = np.array([trial.metrics[metric] for trial in trials])
    for state, marker in _MARKERS.items():
        own = [row for row, trial in enumerate(trials) if trial.state == state]
        axes.scatter(one.places[own], heights[own], s=24, marker=marker, color=_colour(state), alpha=0.7)
    axes.scatter(one.places[-1:], heights[-1:], s=110, facecolors="none", edgecolors=_ORANGE, linewidths=2)
    axes.set_xticks([place for place, _ in one.ticks], [label for _, label in one.ticks], fontsize=8)
    axes.set_xlim(-0.12, 1.12)
    axes.grid(alpha=0.3)


def _colour(state: str) -> str:
    return _BLUE if state == "done" else _GREY


def _mark_states(axes: "Axes", trials: Sequence[Trial]) -> None:
    """A legend of what lines and marks mean."""
    for state, marker, colour in (("done", "-", _BLUE), ("stopped", "v-", _GREY), ("failed", "x-", _ORANGE)):
        num = sum(trial.state == state for trial in trials)
        if num:
            axes.plot([], [], marker, color=colour, ms=5, label=f"{num} {state}")
    axes.legend(loc="best", fontsize=9)


def _legend_of_states(figure: "Figure", trials: Sequence[Trial]) -> None:
    axes = figure.axes[0]
    for state, marker in _MARKERS.items():
        num = sum(trial.state == state for trial in trials)
        if num:
            axes.scatter([], [], s=24, marker=marker, color=_colour(state), label=f"{num} {state}")
    axes.scatter([], [], s=110, facecolors="none", edgecolors=_ORANGE, linewidths=2, label="best")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)


def _clip_outliers(axes: "Axes", values: Sequence[float], direction: Direction) -> None:
    """What is far on the bad side, as first reports are, does not flatten the rest."""
    low, quarter, three, high = np.quantile(values, [0, 0.25, 0.75, 1])
    reach, pad = 3 * (three - quarter), 0.05 * (three - quarter)
    if direction == "lowest" and high > three + reach > low:
        axes.set_ylim(low - pad, three + reach)
    if direction == "highest" and low < quarter - reach < high:
        axes.set_ylim(quarter - reach, high + pad)


def _points(trials: Sequence[Trial], left: str, right: str) -> tuple[list[float], list[float]]:
    return [trial.metrics[left] for trial in trials], [trial.metrics[right] for trial in trials]


def _values(schedule: Schedule, steps: Floats, num_steps: int) -> list[float]:
    return [schedule.value(int(step), num_steps) for step in steps]


def _named(values: Sequence[Any]) -> Axis:
    names = sorted({str(value) for value in values if value is not None})
    place = {name: index / max(1, len(names) - 1) for index, name in enumerate(names)}
    places = np.array([math.nan if value is None else place[str(value)] for value in values])
    every = max(1, math.ceil(len(names) / _MAX_NAMES))
    return Axis(places, [(place[name], _cut(name)) for name in names[::every]], False)


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_CHARS else f"{name[: _NAME_CHARS - 1]}…"


def _wrapped(name: str) -> str:
    """Lines of a key, broken after dots and underscores."""
    spaced = name.replace("_", "_ ").replace(".", ". ")
    lines = textwrap.wrap(spaced, _NAME_CHARS, break_long_words=False)
    return "\n".join(line.replace("_ ", "_").replace(". ", ".") for line in lines)
