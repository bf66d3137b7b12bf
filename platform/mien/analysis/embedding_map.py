"""Rows before and after, and texts, on one plane: where a bridge leads them (t-SNE, van der Maaten and Hinton 2008)."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.style import Colour, FigureConfig, Size
from mien.errors import ConfigError
from mien.evaluation.embedded import Floats, Ints

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE, AFTER, TEXT = "#3498db", "#e74c3c", "#2ecc71"
"""Of the first tool."""
_TEXT_EDGE = "#006400"


class TsneConfig(FigureConfig):
    """How rows are put on a plane, and the figure of it."""

    title: str = Field("Embedding Space: Visual vs Text Distribution (t-SNE Projection)", max_length=200)
    """Above the figure."""
    size_in: Size = (12, 10)
    """Width and height in inches."""
    dpi: int = Field(300, ge=20, le=600)
    """Pixels per inch."""
    is_skipped: bool = False
    """Draw no map; `tsne=skip` says the same, and saves its time: some ten seconds for each thousand points."""
    samples: int = Field(2000, ge=2, le=20_000)
    """Rows, and texts, at most; drawn if there are more, the same before and after."""
    perplexity: float = Field(30, gt=0)
    """Neighbours that count; there must be more points than that."""
    max_iter: int = Field(1000, ge=250, le=20_000)
    """Steps of the optimiser."""
    num_arrows: int = Field(50, ge=0)
    """Rows whose way is drawn."""
    seed: int = Field(42, ge=0)
    """Of what is drawn, and of the projection."""
    before: Colour = BEFORE
    """Of rows before."""
    after: Colour = AFTER
    """Of rows after."""
    text: Colour = TEXT
    """Of texts."""


class Points(NamedTuple):
    """Places on the plane, which have no unit."""

    before: Floats
    """[k, 2]."""
    after: Floats | None
    """[k, 2], the same rows; None where there is no bridge."""
    text: Floats
    """[j, 2]."""
    rows: Ints
    """Which rows they are [k]."""
    texts: Ints
    """Which texts [j]."""
    arrows: Ints
    """Places among the k rows whose way is drawn."""


def project(before: Floats, after: Floats | None, text: Floats, config: TsneConfig) -> Points:
    """Find places for all of them together.

    Args:
        before: Unit vectors [n, d].
        after: The same rows [n, d], in the same frame; None where there is no bridge.
        text: Unit vectors [m, d].
        config: How.

    Raises:
        ConfigError: There are not more points than the perplexity.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rng = np.random.default_rng(config.seed)
    rows, texts = (_drawn(len(side), config.samples, rng) for side in (before, text))
    sides = [before[rows], *([] if after is None else [after[rows]]), text[texts]]
    stacked = np.concatenate(sides)
    require_points(len(stacked), config)
    num = min(50, *stacked.shape)  # neighbours are looked for in the plane of most variance, as the authors do
    reduced = PCA(num, random_state=config.seed).fit_transform(stacked)
    tsne = TSNE(2, perplexity=config.perplexity, max_iter=config.max_iter, random_state=config.seed)
    parts = np.split(tsne.fit_transform(reduced).astype(np.float64), np.cumsum([len(side) for side in sides])[:-1])
    arrows = _drawn(len(rows), config.num_arrows, rng) if after is not None else np.empty(0, np.int64)
    return Points(parts[0], None if after is None else parts[1], parts[-1], rows, texts, arrows)


def require_points(num: int, config: TsneConfig) -> None:
    """Refuse a perplexity that so few points cannot have.

    Raises:
        ConfigError: There are not more of them.
    """
    if num <= config.perplexity:
        raise ConfigError(
            f"tsne.perplexity={config.perplexity:g}: needs more points than that, there are {num}; "
            "lower it, or set tsne=skip"
        )


def numbers(points: Points) -> dict[str, Any]:
    """Every place, and which row or text it is of."""
    return {name: None if values is None else values.tolist() for name, values in points._asdict().items()}


def draw(points: Points, config: TsneConfig) -> "Figure":
    """Blue before, red after, arrows between them, green stars for the texts."""
    figure = config.canvas()
    axes = figure.subplots()
    _draw_dots(axes, points.before, config.before, f"Visual (Before): {len(points.before)}")
    if points.after is not None:
        _draw_dots(axes, points.after, config.after, f"Visual (After): {len(points.after)}")
        reach = float(np.ptp(np.concatenate([points.before, points.after, points.text]), axis=0).max())
        _draw_arrows(axes, points.before[points.arrows], points.after[points.arrows], reach / 150)
    x, y = points.text.T
    label = f"Text (Target): {len(points.text)}"
    axes.scatter(x, y, 100, config.text, marker="*", alpha=0.8, edgecolors=_TEXT_EDGE, lw=0.6, zorder=4, label=label)
    axes.set(xlabel="t-SNE Dimension 1", ylabel="t-SNE Dimension 2")
    style.title(axes, config.title)
    axes.grid(alpha=0.3)
    for handle in axes.legend(framealpha=0.9, markerscale=1.5).legend_handles:
        if handle is not None:
            handle.set_alpha(0.9)
    style.caption(
        figure, f"perplexity {config.perplexity:g}, seed {config.seed}; distances between groups mean nothing"
    )
    return figure


def _draw_dots(axes: "Axes", places: Floats, colour: str, label: str) -> None:
    axes.scatter(places[:, 0], places[:, 1], s=10, color=colour, alpha=0.3, linewidths=0, rasterized=True, label=label)


def _draw_arrows(axes: "Axes", start: Floats, end: Floats, head_width: float) -> None:
    """Heads are as wide beside the plane as those of the first tool, 1.0 on planes of 150."""
    for (x, y), (to_x, to_y) in zip(start, end, strict=True):
        axes.arrow(x, y, to_x - x, to_y - y, alpha=0.2, color="grey", head_width=head_width, length_includes_head=True)


def _drawn(num: int, most: int, rng: np.random.Generator) -> Ints:
    return np.sort(rng.choice(num, min(num, most), replace=False))
