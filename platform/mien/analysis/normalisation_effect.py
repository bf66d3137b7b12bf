"""What normalisation does to cosines and distances between frames of a clip."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.dataset_vectors import Vectors
from mien.analysis.style import FigureConfig, Size
from mien.datasets.normalise import Kind
from mien.evaluation.bootstrap import BootstrapConfig, Estimate, NotMeasurable, interval
from mien.evaluation.embedded import Floats
from mien.evaluation.figure import draw_reason
from mien.evaluation.report import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS: dict[Kind, str] = {"none": style.SERIES[0], "standardise": style.SERIES[2], "min_max": style.SERIES[1]}
_LABELS: dict[Kind, str] = {"none": "as it is", "standardise": "standardised", "min_max": "min-max"}
_TINY = 1e-12


class EffectConfig(FigureConfig):
    """Which frames are compared."""

    title: str = Field("What Normalisation Does", max_length=200)
    """Begins the title of the figure."""
    size_in: Size = (14, 5.5)
    """Width and height in inches."""
    lags: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 10, 50, 99), min_length=1)
    """Frames from the first frame of a clip to that which it is compared with."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """Intervals, over clips."""


def effect(vectors: Vectors, scales: Mapping[Kind, Floats], config: EffectConfig) -> dict[Kind, dict[str, Floats]]:
    """Cosine and distance of the first frame and that `lag` frames later, clip by clip.

    Args:
        vectors: Frames of clips.
        scales: The same vectors, scaled, [N, D] each.
        config: Lags.

    Returns:
        By scale: `cosine` and `distance`, [C, lags]; a distance is told in parts of the clip's largest. NaN where a
        clip has no such frame, or a vector no direction.
    """
    num_clips = len(vectors.clip_names)
    pairs = np.full((num_clips, len(config.lags)), -1)
    first = np.unique(vectors.clip, return_index=True)[1]
    place = {
        (int(clip), int(frame)): row for row, (clip, frame) in enumerate(zip(vectors.clip, vectors.frame, strict=True))
    }
    for clip, row in enumerate(first):
        for column, lag in enumerate(config.lags):
            pairs[clip, column] = place.get((clip, int(vectors.frame[row]) + lag), -1)
    return {kind: _compared(values, values[first], pairs) for kind, values in scales.items()}


def numbers(vectors: Vectors, scales: Mapping[Kind, Floats], config: EffectConfig) -> dict[str, Any]:
    """Means over clips with intervals, by scale and lag, and how many clips are that long."""
    found = effect(vectors, scales, config)
    return {
        **vectors.facts(),
        "lags": list(config.lags),
        "num_clips_by_lag": np.isfinite(next(iter(found.values()))["distance"]).sum(0).tolist(),
        "scales": {
            kind: {name: [plain(one) for one in _means(values, config)] for name, values in measures.items()}
            for kind, measures in found.items()
        },
        "level": config.bootstrap.level,
    }


def draw(vectors: Vectors, scales: Mapping[Kind, Floats], config: EffectConfig) -> "Figure":
    """Left: cosines with the first frame; right: distances from it; bars and points by scale, with intervals."""
    found = effect(vectors, scales, config)
    figure = config.canvas()
    left, right = figure.subplots(1, 2)
    style.title(left, "Cosine with the first frame")
    style.title(right, "Distance from the first frame")
    if not any(np.isfinite(measures["distance"]).any() for measures in found.values()):
        lags = ", ".join(map(str, config.lags))
        for axes in (left, right):
            draw_reason(axes, NotMeasurable(f"no clip has a frame {lags} frames after its first; set effect.lags"))
        return figure
    num = np.isfinite(next(iter(found.values()))["distance"]).sum(0)
    missing = [str(lag) for lag, n in zip(config.lags, num, strict=True) if not n]
    for number, (kind, measures) in enumerate(found.items()):
        _draw_bars(left, (number, len(found)), kind, _means(measures["cosine"], config))
        _draw_line(right, (number, len(found)), kind, _means(measures["distance"], config))
    for axes in (left, right):
        axes.set_xticks(
            range(len(config.lags)), [f"0, {lag}\n{n} clips" for lag, n in zip(config.lags, num, strict=True)]
        )
        axes.set(xlabel="frames", xlim=(-0.6, np.flatnonzero(num)[-1] + 0.6))
        axes.grid(axis="y", alpha=0.3)
    right.legend(fontsize=8, loc="lower right")  # of both: over the bars it would hide some
    left.set(ylabel="cosine", ylim=(min(0.0, left.get_ylim()[0]), 1.05))
    left.axhline(0, color="black", lw=0.8)
    right.set(ylabel="share of the clip's largest distance", ylim=(0, 1.05))
    if missing:
        style.caption(figure, f"no clip has a frame {', '.join(missing)} frames after its first")
    figure.suptitle(f"{config.title} - {vectors.place}: means over clips", parse_math=False)
    return figure


def _compared(values: Floats, first: Floats, pairs: Any) -> dict[str, Floats]:
    """Of one scale: values [N, D], first frames [C, D], rows that they are compared with [C, lags], -1 for none."""
    later, one = values[pairs], first[:, None]
    length = np.linalg.norm(later, axis=2) * np.linalg.norm(one, axis=2)
    has_cosine = (pairs >= 0) & (length > _TINY)
    cosine = np.divide((later * one).sum(2), length, out=np.full(pairs.shape, np.nan), where=has_cosine)
    distance = np.where(pairs >= 0, np.linalg.norm(later - one, axis=2), np.nan)
    largest = np.nanmax(np.where(pairs >= 0, distance, 0), axis=1, keepdims=True)
    share = np.divide(distance, largest, out=np.where(pairs >= 0, 0.0, np.nan), where=(pairs >= 0) & (largest > 0))
    return {"cosine": cosine, "distance": share}


def _means(values: Floats, config: EffectConfig) -> list[Estimate]:
    return [interval(column, config.bootstrap) for column in values.T]


def _draw_bars(axes: "Axes", place: tuple[int, int], kind: Kind, means: list[Estimate]) -> None:
    number, num = place
    width = 0.8 / num
    value, lengths = _with_lengths(means)
    x = np.arange(len(means)) + (number - (num - 1) / 2) * width
    look: dict[str, Any] = {"color": _COLOURS[kind], "label": _LABELS[kind], "alpha": 0.85}
    axes.bar(x, value, width, yerr=lengths, error_kw={"lw": 1, "capsize": 2}, **look)


def _draw_line(axes: "Axes", place: tuple[int, int], kind: Kind, means: list[Estimate]) -> None:
    """Beside each other, so that every interval is seen."""
    value, lengths = _with_lengths(means)
    x = np.arange(len(means)) + 0.05 * (place[0] - (place[1] - 1) / 2)
    look: dict[str, Any] = {"color": _COLOURS[kind], "label": _LABELS[kind], "marker": "o", "capsize": 2}
    axes.errorbar(x, value, yerr=lengths, **look)


def _with_lengths(means: list[Estimate]) -> tuple[Floats, Floats]:
    value, low, high = np.array([[one.value, one.low, one.high] for one in means]).T
    return value, np.maximum(np.nan_to_num(np.stack([value - low, high - value])), 0)
