"""Vectors before and after normalisation: how values are distributed, over all dimensions and in each."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from mien.analysis import normalisation_effect, style
from mien.analysis.dataset_vectors import Vectors
from mien.analysis.normalisation_effect import EffectConfig
from mien.analysis.style import Colour, FigureConfig, Picture, Size
from mien.datasets.normalise import KINDS, Kind, NormaliseConfig, normalise
from mien.evaluation.embedded import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PERCENTILES = (1, 25, 50, 75, 99)
_STILL = 1e-6
"""A dimension that deviates less is the same in all frames."""
_TITLES: dict[Kind, str] = {"none": "As it is", "standardise": "Standardised", "min_max": "Min-max"}


class NormalisationConfig(FigureConfig):
    """Which vectors are scaled, by what, and how the figures look."""

    title: str = Field("Normalisation", max_length=200)
    """Begins the title of the figure."""
    size_in: Size = (15, 8)
    """Width and height in inches."""
    scope: Literal["clip", "dataset"] = "dataset"
    """Whose mean, deviation and limits are taken: of each clip, or of all frames."""
    bins: int = Field(50, ge=5, le=1000)
    """Of the histograms."""
    before: Colour = style.BLUE
    """Of values as they are."""
    after: Colour = "#009E73"
    """Of scaled values."""
    effect: EffectConfig = EffectConfig()
    """The figure of what normalisation does to cosines and distances."""


def scaled(vectors: Vectors, scope: Literal["clip", "dataset"]) -> dict[Kind, Floats]:
    """The vectors in every scale, [N, D] each."""
    return {kind: normalise(vectors.values, vectors.clip, NormaliseConfig(kind=kind, scope=scope)) for kind in KINDS}


def numbers(vectors: Vectors, config: NormalisationConfig) -> dict[str, Any]:
    """Mean, std, min and max of all values and of each dimension, in every scale.

    `looks_normalised`: |mean| below 0.1 and std between 0.5 and 2, whatever made them so.
    `num_still`: dimensions that are the same in all frames.
    """
    return {
        **vectors.facts(),
        "scope": config.scope,
        "scales": {kind: _statistics(values) for kind, values in scaled(vectors, config.scope).items()},
    }


def draw(vectors: Vectors, config: NormalisationConfig) -> "Figure":
    """Above: histograms of all values, a dashed line at the mean; below: percentiles of each dimension."""
    figure = config.canvas()
    panels = figure.subplots(2, len(KINDS))
    for (above, below), (kind, values) in zip(panels.T, scaled(vectors, config.scope).items(), strict=True):
        colour = config.before if kind == "none" else config.after
        _draw_values(above, values, colour, config.bins)
        style.title(above, f"{_TITLES[kind]}: mean {round(values.mean(), 9) + 0.0:.3g}, std {values.std():.3g}")
        _draw_dimensions(below, values, colour)
    told = vectors.facts()
    figure.suptitle(
        f"{config.title} by {config.scope} - {vectors.place}: {told['num_frames']} frames of {told['num_clips']} clips",
        parse_math=False,
    )
    if num_still := _statistics(vectors.values)["num_still"]:
        style.caption(figure, f"the same in all frames: {num_still} of {told['num_dimensions']} dimensions")
    return figure


def pictures(vectors: Vectors, config: NormalisationConfig) -> list[Picture]:
    """What normalisation would do to the vectors: to their values, and to cosines and distances within clips."""
    scales = scaled(vectors, config.scope)
    effect = normalisation_effect.draw(vectors, scales, config.effect)
    told = normalisation_effect.numbers(vectors, scales, config.effect)
    return [
        style.picture("normalisation", draw(vectors, config), numbers(vectors, config)),
        style.picture("normalisation_effect", effect, told),
    ]


def sentence(vectors: Vectors) -> str:
    """What the values look like as they are, in one line."""
    found = _statistics(vectors.values)
    looks = "look" if found["looks_normalised"] else "do not look"
    return (
        f"values: mean {found['mean']:.4g}, std {found['std']:.4g}, {found['min']:.4g} to {found['max']:.4g}: "
        f"{looks} normalised; the same in all frames: {found['num_still']} of {vectors.values.shape[1]} dimensions"
    )


def _statistics(values: Floats) -> dict[str, Any]:
    mean, std = float(values.mean()), float(values.std())
    by_dimension = {"mean": values.mean(0), "std": values.std(0), "min": values.min(0), "max": values.max(0)}
    return {
        "mean": mean,
        "std": std,
        "min": float(values.min()),
        "max": float(values.max()),
        "looks_normalised": bool(abs(mean) < 0.1 and 0.5 < std < 2),
        "num_still": int((by_dimension["std"] < _STILL).sum()),
        "dimensions": {name: found.tolist() for name, found in by_dimension.items()},
    }


def _draw_values(axes: "Axes", values: Floats, colour: str, bins: int) -> None:
    axes.hist(values.ravel(), bins=bins, color=colour, alpha=0.8)
    axes.axvline(values.mean(), color=style.RED, ls="--", lw=1.5)
    axes.set(xlabel="value", ylabel="numbers")


def _draw_dimensions(axes: "Axes", values: Floats, colour: str) -> None:
    """Dimensions by their median, from left to right: bands of 1 to 99 % and of 25 to 75 %, a line at the median."""
    found = np.percentile(values, _PERCENTILES, axis=0)
    low, q25, median, q75, high = found[
        :, found[2].argsort()
    ]  # in any other order the bands of hundreds would be noise
    edges = np.arange(len(median) + 1) - 0.5
    axes.use_sticky_edges = False  # room below the bands
    for below, above, alpha in ((low, high, 0.2), (q25, q75, 0.45)):
        axes.stairs(above, edges, baseline=below, fill=True, color=colour, alpha=alpha)
    axes.stairs(median, edges, baseline=None, color="black", lw=0.8)
    axes.set(xlabel="dimensions by their median (1–99 %, 25–75 %, median)", ylabel="value", xlim=(edges[0], edges[-1]))
    axes.grid(alpha=0.3)
