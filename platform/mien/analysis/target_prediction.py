"""Expressions as they should be above what a model made of them, in the same colours."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.movement import centred
from mien.analysis.sequence import Values, sequence
from mien.analysis.style import ColourMap, FigureConfig, Size
from mien.errors import DatasetError
from mien.evaluation.embedded import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Pair(NamedTuple):
    """Both [T, D], or [B, T, D] of which the first item is taken."""

    target: Values
    prediction: Values

    def frames(self) -> tuple[Floats, Floats]:
        """Target and prediction, [T, D] each.

        Raises:
            DatasetError: One is not a sequence, or they have different shapes.
        """
        target, prediction = sequence(self.target, "target"), sequence(self.prediction, "prediction")
        if target.shape != prediction.shape:
            raise DatasetError(
                f"prediction: shape {list(prediction.shape)} is not that of the target, {list(target.shape)}; "
                "give both for the same frames"
            )
        return target, prediction


class TargetPredictionConfig(FigureConfig):
    """Size, colours and names of the figure."""

    title: str = Field("Window 0", max_length=200)
    """Begins the title of both panels."""
    size_in: Size = (16, 8)
    """Width and height in inches."""
    dpi: int = Field(100, ge=20, le=600)
    """Pixels per inch."""
    cmap: ColourMap = "RdBu_r"
    """Of both heatmaps."""
    reduce_to: int | None = Field(32, ge=1)
    """Neighbouring dimensions are averaged to so many rows; None shows them all."""
    subtract_mean: bool = False
    """Each dimension minus its own temporal mean, in target and prediction: shows movement, hides offsets."""


def numbers(pair: Pair) -> dict[str, Any]:
    """How far the prediction is from the target, over all frames and dimensions, and by frame [T].

    Raises:
        DatasetError: One is not a sequence, or they have different shapes.
    """
    target, prediction = pair.frames()
    difference = prediction - target
    return {
        "num_frames": len(target),
        "num_dimensions": target.shape[1],
        "mean_absolute_difference": float(np.abs(difference).mean()),
        "max_absolute_difference": float(np.abs(difference).max()),
        "mean_difference": float(difference.mean()),
        "std_difference": float(difference.std()),
        "mean_absolute_difference_by_frame": np.abs(difference).mean(1).tolist(),
    }


def draw(pair: Pair, config: TargetPredictionConfig) -> "Figure":
    """Two heatmaps with common colour limits.

    Raises:
        DatasetError: One is not a sequence, or they have different shapes.
    """
    shown = [centred(frames) if config.subtract_mean else frames for frames in pair.frames()]
    shown = [reduced(frames, config.reduce_to) for frames in shown]
    limits = style.symmetric(np.stack(shown)) if config.subtract_mean else common_limits(shown)
    figure = config.canvas()
    for axes, frames, name in zip(figure.subplots(2, 1), shown, ("Target", "Predicted"), strict=True):
        style.heatmap(axes, frames, config.cmap, limits)
        style.title(axes, f"{config.title} - {name} Expression{said_of(frames, pair)}")
        tick(axes, frames)
    found = numbers(pair)
    mean, greatest = found["mean_absolute_difference"], found["max_absolute_difference"]
    figure.suptitle(f"Mean absolute difference {mean:.4g}, max {greatest:.4g} (all {found['num_dimensions']} dims)")
    return figure


def common_limits(shown: list[Floats]) -> tuple[float, float]:
    """Least and greatest value of all."""
    return float(min(frames.min() for frames in shown)), float(max(frames.max() for frames in shown))


def said_of(shown: Floats, pair: Pair) -> str:
    """Of a title: how many rows stand for the dimensions, if fewer."""
    num_rows = shown.shape[1]
    return f" (reduced to {num_rows} dims)" if num_rows < np.shape(pair.target)[-1] else ""


def reduced(frames: Floats, num_groups: int | None) -> Floats:
    """Means of neighbouring dimensions: [T, D] to [T, num_groups], of sizes that differ by one at most."""
    num_dimensions = frames.shape[1]
    if num_groups is None or num_groups >= num_dimensions:
        return frames
    starts = np.arange(num_groups) * num_dimensions // num_groups
    sizes = np.diff(np.append(starts, num_dimensions))
    return np.asarray(np.add.reduceat(frames, starts, axis=1) / sizes)


def tick(axes: "Axes", frames: Floats) -> None:
    """A mark every 5 frames and every 4 rows, or a multiple of it where they would run into each other."""
    num_frames, num_rows = frames.shape
    axes.set_xticks(np.arange(0, num_frames, 5 * -(-num_frames // 100)))
    axes.set_yticks(np.arange(0, num_rows, 4 * -(-num_rows // 64)))
    axes.grid(alpha=0.3, lw=0.5)
