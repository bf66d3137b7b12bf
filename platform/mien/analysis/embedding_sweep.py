"""A bridge with other start steps, numbers of steps and scales: which way is the best, and what each costs."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.style import FigureConfig, Size
from mien.diffusion.bridge import BridgeConfig
from mien.evaluation.alignment import AlignmentConfig, Scene, System, compare
from mien.evaluation.alignment_verdict import Judgement, VerdictConfig, judge
from mien.evaluation.bootstrap import Estimate, NotMeasurable
from mien.evaluation.embedded import Floats
from mien.evaluation.report import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Steps = Annotated[int, Field(ge=1)]
Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Translate = Callable[[Floats, BridgeConfig], Floats]
"""Rows [n, d] to the same in the raw frame, by one way."""


class SweepConfig(FigureConfig):
    """Which ways are tried. Each point is one of each; a start step below the number of steps is left out."""

    title: str = Field("", max_length=200)
    """Before the title of every panel."""
    size_in: Size = (5, 4)
    """Width and height of a panel in inches."""
    start_steps: tuple[Steps, ...] = ()
    """Noise levels at which rows enter; none: there is no sweep. The first tool tried 50, 100, 200 and 500."""
    num_steps: tuple[Steps, ...] = (5,)
    """Calls of the network on the way."""
    scales: tuple[Scale, ...] = ()
    """Lengths of what the network sees; none: that of the checkpoint. The first tool tried 1, 2, 5 and 10."""
    num_rows: int = Field(500, ge=2)
    """Rows that are led, evenly taken."""


@dataclass(frozen=True)
class Point:
    """One way, and what it does."""

    start_step: int
    num_steps: int
    scale: float
    similarity: Estimate
    """Mean cosine to the nearest text."""
    similarity_std: float
    top_1: Estimate | NotMeasurable
    judgement: Judgement
    seconds_per_row: float
    """On this machine; what compares is their order."""


def ways(config: SweepConfig, own: BridgeConfig, num_noise_levels: int) -> Iterator[BridgeConfig]:
    """All that can be tried: no more steps than noise levels on the way."""
    for scale, start, steps in itertools.product(config.scales or (own.radius,), config.start_steps, config.num_steps):
        if steps <= start <= num_noise_levels:
            yield own.model_copy(update={"radius": scale, "start_step": start, "num_steps": steps})


def sweep(
    rows: Floats,
    scene: Scene,
    tried: Sequence[BridgeConfig],
    translate: Translate,
    alignment: AlignmentConfig,
    verdict: VerdictConfig,
) -> list[Point]:
    """Lead the rows by one way after the other, and measure each.

    Raises:
        ValueError: A row cannot be scaled.
    """
    found = []
    for way in tried:
        started = time.perf_counter()
        after = translate(rows, way)
        seconds = time.perf_counter() - started
        first, second = compare(rows, {"bridge": after}, scene, alignment)
        found.append(_point(way, second, judge(first, second, verdict), seconds / len(rows)))
    return found


def _point(way: BridgeConfig, system: System, judgement: Judgement, seconds_per_row: float) -> Point:
    return Point(
        start_step=way.start_step,
        num_steps=way.num_steps,
        scale=way.radius,
        similarity=system.measures.similarity,
        similarity_std=system.spread.similarity_std,
        top_1=system.measures.top_1,
        judgement=judgement,
        seconds_per_row=seconds_per_row,
    )


def numbers(points: Sequence[Point]) -> dict[str, Any]:
    """Every point."""
    return {"points": [plain(point) for point in points]}


def best(points: Sequence[Point]) -> Point:
    """Of those with the best verdict the one that gains most; as it is chosen on these rows, measure it on others."""
    order = ("good", "mixed", "not distinguishable", "poor")
    return min(points, key=lambda one: (order.index(one.judgement.verdict), -one.judgement.percent.value))


def draw(points: Sequence[Point], config: SweepConfig) -> "Figure":
    """A panel for each scale: gain in percent and verdict over start step and number of steps; the best is framed."""
    scales = sorted({point.scale for point in points})
    figure = config.canvas(len(scales))
    panels = figure.subplots(1, len(scales), squeeze=False)[0]
    limits = style.symmetric(np.array([point.judgement.percent.value for point in points]))
    for axes, scale in zip(panels, scales, strict=True):
        image = _draw_panel(axes, [point for point in points if point.scale == scale], best(points), limits)
        style.title(axes, f"{config.title}scale {scale:g}")
    figure.colorbar(image, ax=list(panels), label="Change of the similarity (%)")
    return figure


def _draw_panel(axes: "Axes", points: Sequence[Point], top: Point, limits: tuple[float, float]) -> Any:
    starts, steps = (sorted({getattr(one, name) for one in points}) for name in ("start_step", "num_steps"))
    cells = np.full((len(steps), len(starts)), np.nan)
    for one in points:
        y, x = steps.index(one.num_steps), starts.index(one.start_step)
        cells[y, x] = one.judgement.percent.value
        is_dark = abs(one.judgement.percent.value) > 0.6 * limits[1]
        told = f"{one.judgement.percent.value:+.1f} %\n" + one.judgement.verdict.replace("not ", "not\n")
        weight = "bold" if one is top else "normal"
        axes.text(x, y, told, ha="center", va="center", size=8, weight=weight, color="white" if is_dark else "black")
        if one is top:
            axes.add_patch(_frame(x, y))
    image = axes.imshow(cells, cmap="RdBu", vmin=limits[0], vmax=limits[1], aspect="auto")
    axes.set_xticks(range(len(starts)), [str(start) for start in starts])
    axes.set_yticks(range(len(steps)), [str(step) for step in steps])
    axes.set(xlabel="Start step", ylabel="Number of steps")
    return image


def _frame(x: int, y: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, fill=False, edgecolor="black", lw=2)
