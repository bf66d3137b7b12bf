"""What a run logged, as curves over its steps; several runs lie over one another."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.style import FigureConfig, Picture, Size
from mien.config import parse_yaml
from mien.errors import DatasetError
from mien.evaluation.embedded import Floats
from mien.evaluation.run_log import KINDS, Logged, Series
from mien.storage.uri import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Runs = Mapping[str, Logged]
"""What a figure calls a run -> its log."""

_WEIGHT = "weight/"
_SPREAD = 100.0
"""Positive values that reach over so many times their least are drawn on a logarithmic axis."""
_STYLES = ("-", "--", ":", "-.")
"""Of lines that are coloured by name, by run."""
_CONFIG = "config.yaml"
_COLLAPSE = ("similarity_mean", "similarity_std", "effective_rank", "token_variance", "mean_cosine")
_RANGE = ("similarity_min", "similarity_max")
_PACE = ("gradient_norm", "clips_per_s", "step_s", "data_wait_share")
_TITLES = {
    "loss": "loss (all terms, weighted)",
    "similarity_mean": "cosine within a clip (band: ± std)",
    "similarity_std": "std of the cosines within clips",
    "mean_cosine": "cosine of any two tokens",
    "effective_rank": "effective rank of the tokens",
    "token_variance": "variance of the tokens",
    "clips_per_s": "clips per second",
    "step_s": "seconds of a step",
    "data_wait_share": "share of time waiting for data",
}


class TrainingCurvesConfig(FigureConfig):
    """Size of the panels, and how lines are drawn."""

    title: str = Field("Training", max_length=200)
    """Begins the title of the figure."""
    size_in: Size = (6, 3.6)
    """Width and height of one panel, in inches."""
    dpi: int = Field(120, ge=20, le=600)
    """Pixels per inch."""
    columns: int = Field(3, ge=1, le=8)
    """Panels beside each other."""
    smooth: int = Field(25, ge=1)
    """Logged steps over which training is averaged, at most a tenth of all; the line itself stands behind, pale."""
    max_points: int = Field(2000, ge=10)
    """Points of a line; of more, the least and the greatest of each stretch are kept, so that no spike is lost."""


class Panel(NamedTuple):
    """One pair of axes."""

    title: str
    names: tuple[str, ...]
    """Numbers of the log that are drawn in it."""


def figures(runs: Runs) -> dict[str, list[Panel]]:
    """Figures that these logs allow, and their panels: losses, schedules, collapse, pace, other.

    Nothing that was logged is left out, except `epoch`, which tells the same as the step, and counts.
    """
    names = list(dict.fromkeys(name for run in runs.values() for name in run.names()))
    terms = [name for name in names if _WEIGHT + name in names]
    weights = tuple(name for name in names if name.startswith(_WEIGHT))
    told = {"epoch", "loss", "learning_rate", *terms, *weights, *_COLLAPSE, *_RANGE, *_PACE, "similarity_count"}
    other = [name for name in names if name not in told]
    schedules = [Panel("learning rate", ("learning_rate",))] * ("learning_rate" in names)
    extremes = [Panel("least and greatest cosine within clips", _RANGE)] * ({*_RANGE} <= {*names})
    found = {
        "losses": _single([name for name in ("loss", *terms) if name in names]),
        "schedules": [*schedules, *([Panel("weights of the losses", weights)] if weights else [])],
        "collapse": [*_single([name for name in _COLLAPSE if name in names]), *extremes],
        "pace": _single([name for name in _PACE if name in names]),
        "other": _single(other),
    }
    return {name: panels for name, panels in found.items() if panels}


def numbers(runs: Runs, panels: Sequence[Panel], config: TrainingCurvesConfig) -> dict[str, Any]:
    """Every line of a figure: its points, first and last value, least and greatest with their steps.

    `num_not_finite` counts logged steps at which a number was none.
    """
    names = [name for panel in panels for name in panel.names]
    return {
        label: {
            "uri": run.uri,
            "starts": list(run.starts),
            "series": {
                kind: {name: _told(run.series[kind][name], config) for name in names if name in run.series[kind]}
                for kind in KINDS
            },
        }
        for label, run in runs.items()
    }


def draw(
    runs: Runs, panels: Sequence[Panel], config: TrainingCurvesConfig, warmup: Mapping[str, int] | None = None
) -> "Figure":
    """Training as a line, validation as a line with points, runs by colour; of a single run, weights by colour.

    Args:
        runs: Logs by label.
        panels: What is drawn, as in `figures`.
        config: How.
        warmup: Last step of the warm-up of some runs: a dashed line.

    Raises:
        DatasetError: None of the numbers was logged as one that is finite.
    """
    if not any(len(series.known.step) for _, series in _lines(runs, panels)):
        raise DatasetError(f"{', '.join(runs)}: has no finite number of {_names(panels)}; see its log for why")
    figure, axes = config.panels(len(panels), config.columns)
    for one, panel in zip(axes, panels, strict=True):
        _draw_panel(one, panel, runs, config)
        for step in {*(warmup or {}).values()} - {0}:
            one.axvline(step, color=style.RED, ls="--", lw=1)
    figure.suptitle(_title(runs, config, bool(warmup)), parse_math=False)
    bad = sum(len(series.value) - len(series.known.value) for _, series in _lines(runs, panels))
    if bad:
        style.caption(figure, f"not finite at {bad} logged values: these are gaps in the lines", is_warning=True)
    return figure


def pictures(runs: Runs, config: TrainingCurvesConfig, warmup: Mapping[str, int]) -> tuple[list[Picture], list[str]]:
    """Every figure that the logs of these runs allow, and why some are left out: none of their numbers is finite.

    Raises:
        DatasetError: All are left out.
    """
    drawn, left_out = [], []
    for name, panels in figures(runs).items():
        told = {"warmup_steps": dict(warmup), "runs": numbers(runs, panels, config)}
        try:
            figure = draw(runs, panels, config, warmup if name == "schedules" else None)
        except DatasetError as error:
            left_out.append(f"{name}: {error}")
            continue
        drawn.append(style.picture(name, figure, told))
    if not drawn:
        raise DatasetError("\n".join(left_out))
    return drawn, left_out


def summary(run: Logged) -> dict[str, Any]:
    """Last step and loss of a run, its best validated loss, and how many logged values are not finite."""
    losses = {kind: run.series[kind]["loss"].known for kind in KINDS if "loss" in run.series[kind]}
    last = {kind: float(one.value[-1]) for kind, one in losses.items() if len(one.step)}
    seen = losses.get("validation")
    best = int(seen.value.argmin()) if seen is not None and len(seen.step) else None
    return {
        "uri": run.uri,
        "last_step": run.last_step,
        "num_starts": len(run.starts),
        "loss": last.get("train"),
        "validation_loss": last.get("validation"),
        "best": None if best is None or seen is None else _point(seen, best),
        "num_not_finite": sum(len(s.step) - len(s.known.step) for kind in KINDS for s in run.series[kind].values()),
    }


def sentence(found: Mapping[str, Any]) -> str:
    """The summary of a run in one line; the weighted loss compares only where weights are the same."""
    losses = [(name, found[name]) for name in ("loss", "validation_loss") if found[name] is not None]
    said = [f"step {found['last_step']}", *(f"{name.replace('_', ' ')} {value:.4g}" for name, value in losses)]
    if best := found["best"]:
        said.append(f"least {best['value']:.4g} at step {best['step']}")
    if found["num_not_finite"]:
        said.append(f"NOT FINITE: {found['num_not_finite']} logged values")
    return ", ".join(said)


def warmup_steps(store: Store) -> int | None:
    """Of the learning rate, as the run's config says; none where there is no config or no warm-up.

    Raises:
        ConfigError: The config is damaged.
        StorageError: It cannot be read.
    """
    if not any(entry.name == _CONFIG for entry in store.list(_CONFIG)):
        return None
    rate = parse_yaml(store.read(_CONFIG), f"{store.uri}/{_CONFIG}").get("optimizer", {}).get("learning_rate", {})
    return rate.get("warmup_steps") if isinstance(rate, dict) else None


def smoothed(values: Floats, window: int) -> Floats:
    """Mean of the finite values among the `window` around each, fewer at both ends; NaN where none is: [n] to [n]."""
    is_known, half = np.isfinite(values), window // 2
    around = np.ones(2 * half + 1)  # not by cumulated sums: the rounding of a spike would spoil all that follows
    total, num = (
        np.convolve(each, around)[half : half + len(values)] for each in (np.where(is_known, values, 0.0), is_known)
    )
    return np.asarray(np.divide(total, num, out=np.full(len(values), np.nan), where=num > 0))


def thinned(series: Series, max_points: int) -> Series:
    """The least and the greatest of each stretch of a long line, in their order; a short line as it is."""
    num = len(series.step)
    if num <= max_points:
        return series
    kept = {0, num - 1}
    for stretch in np.array_split(np.arange(num), max(1, max_points // 2 - 1)):
        values = series.value[stretch]
        kept |= {int(stretch[np.where(np.isnan(values), np.inf, values).argmin()])}
        kept |= {int(stretch[np.where(np.isnan(values), -np.inf, values).argmax()])}
    places = sorted(kept)
    return Series(series.step[places], series.value[places])


def _single(names: Sequence[str]) -> list[Panel]:
    return [Panel(_TITLES.get(name, name.replace("_", " ")), (name,)) for name in names]


def _lines(runs: Runs, panels: Sequence[Panel]) -> list[tuple[str, Series]]:
    wanted = {name for panel in panels for name in panel.names}
    found = [run.series[kind] for run in runs.values() for kind in KINDS]
    return [(name, series) for one in found for name, series in one.items() if name in wanted]


def _draw_panel(axes: "Axes", panel: Panel, runs: Runs, config: TrainingCurvesConfig) -> None:
    seen = []
    for name, run, kind, look in _looks(panel, runs):
        seen.append(run.series[kind][name])
        _DRAWN[kind](axes, run.series[kind], name, look, config)
    axes.set_yscale("log" if panel.names[0] != "learning_rate" and _is_wide(seen) else "linear")
    style.title(axes, panel.title)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    if len(axes.get_legend_handles_labels()[0]) > 1:
        axes.legend(fontsize=8)


def _looks(panel: Panel, runs: Runs) -> Iterator[tuple[str, Logged, str, dict[str, Any]]]:
    """Name, run and kind of each line of a panel, and how it looks: one name is coloured by run, several by name.

    Of several names of several runs validation alone is shown, where there is any: more lines are told apart by nobody.
    """
    is_crowded = len(runs) > 1 and len(panel.names) > 1
    for number, (label, run) in enumerate(runs.items()):
        for place, name in enumerate(panel.names):
            kinds = [kind for kind in KINDS if name in run.series[kind]][-1 if is_crowded else 0 :]
            for kind in kinds:
                said = [label] * (len(runs) > 1)
                if len(panel.names) == 1:
                    colour, look = number, {"label": ", ".join([*said, kind])}
                else:
                    colour, look = place, {"ls": _STYLES[number % len(_STYLES)]} if len(runs) > 1 else {}
                    look |= {"label": ", ".join([_short(name), *said])} if kind == kinds[0] else {}
                yield name, run, kind, {"color": style.SERIES[colour % len(style.SERIES)], **look}


def _draw_training(
    axes: "Axes", found: Mapping[str, Series], name: str, look: Mapping[str, Any], config: TrainingCurvesConfig
) -> None:
    series = found[name]
    window = 1 if _is_schedule(name) else min(config.smooth, max(1, len(series.step) // 10))
    if window > 1:
        behind = thinned(series, config.max_points)
        axes.plot(behind.step, _gaps(behind.value), color=look["color"], lw=0.6, alpha=0.35)
    line = thinned(Series(series.step, smoothed(series.value, window)), config.max_points)
    axes.plot(line.step, line.value, lw=1.4, marker="o" if len(line.step) == 1 else "", **look)


def _draw_validation(
    axes: "Axes", found: Mapping[str, Series], name: str, look: Mapping[str, Any], config: TrainingCurvesConfig
) -> None:
    series = thinned(found[name], config.max_points)
    axes.plot(series.step, _gaps(series.value), **{"lw": 1.4, "ls": "--", "marker": "o", "ms": 3.5, **look})
    std = found.get(name.removesuffix("_mean") + "_std")
    if name.endswith("_mean") and std is not None and len(std.step) == len(found[name].step):
        centre, half = found[name].value, std.value
        band = np.clip([centre - half, centre + half], -1, 1)  # of cosines
        axes.fill_between(std.step, *band, color=look["color"], alpha=0.12)


_DRAWN: dict[str, Callable[..., None]] = {"train": _draw_training, "validation": _draw_validation}


def _gaps(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)


def _short(name: str) -> str:
    return name.removeprefix(_WEIGHT).removeprefix("similarity_")


def _is_schedule(name: str) -> bool:
    return name == "learning_rate" or name.startswith(_WEIGHT)


def _is_wide(seen: Sequence[Series]) -> bool:
    """Whether a logarithmic axis shows more; only of numbers above 0."""
    values = np.concatenate([series.known.value for series in seen])
    return bool(len(values) and values.min() > 0 and values.max() > _SPREAD * values.min())


def _told(series: Series, config: TrainingCurvesConfig) -> dict[str, Any]:
    known, shown = series.known, thinned(series, config.max_points)
    told = {
        "num": len(series.step),
        "num_not_finite": len(series.step) - len(known.step),
        "step": shown.step.tolist(),
        "value": [value if math.isfinite(value) else None for value in shown.value.tolist()],
    }
    if not len(known.step):
        return told
    least, greatest = int(known.value.argmin()), int(known.value.argmax())
    places = {"first": 0, "last": -1, "least": least, "greatest": greatest}
    return told | {key: _point(known, at) for key, at in places.items()}


def _point(series: Series, at: int) -> dict[str, Any]:
    return {"step": int(series.step[at]), "value": float(series.value[at])}


def _title(runs: Runs, config: TrainingCurvesConfig, has_warmup: bool) -> str:
    said = ", ".join(f"{label}: step {run.last_step}" for label, run in runs.items())
    return f"{config.title} - {said}" + "; red: end of the warm-up" * has_warmup


def _names(panels: Sequence[Panel]) -> str:
    return ", ".join(name for panel in panels for name in panel.names)
