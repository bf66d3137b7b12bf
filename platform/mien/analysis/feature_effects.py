"""One picture of what differs: every measure, every layer, every condition."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mien.analysis.feature_consistency import UNKNOWN, Consistency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_NUM_COLUMNS = 3


def draw(data: Sequence[Consistency], names: tuple[str, str] = ("Baseline", "Curriculum")) -> "Figure":
    """A panel for each measure; a cell says how many images are higher / lower, bold where they are told apart."""
    from matplotlib.figure import Figure

    num_rows = -(-len(data) // _NUM_COLUMNS)
    columns, rows = len(data[0].by_condition), len(data[0].by_layer)
    size = (_NUM_COLUMNS * (2.4 + 0.75 * columns), num_rows * (1.5 + 0.42 * rows) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    title = f"{names[1]} against {names[0]}: images in which it is higher / lower (bold: told apart)"
    figure.suptitle(title, parse_math=False)
    all_axes = figure.subplots(num_rows, _NUM_COLUMNS, squeeze=False).ravel()
    for axes, one in zip(all_axes, data, strict=False):
        image = _draw_panel(axes, one)
    for axes in all_axes[len(data) :]:
        axes.axis("off")
    label = "(higher − lower) / images"
    figure.colorbar(image, ax=list(all_axes), location="right", fraction=0.02, pad=0.01, label=label)
    return figure


def _draw_panel(axes: "Axes", one: Consistency) -> "AxesImage":
    layers, conditions = [row.layer for row in one.by_layer], [row.condition for row in one.by_condition]
    shares = np.array([(row.higher - row.lower) / max(row.num, 1) for row in one.cells])
    shares = shares.reshape(len(layers), len(conditions))
    image = axes.imshow(shares, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
    for place, row in enumerate(one.cells):
        y, x = divmod(place, len(conditions))
        colour = "white" if abs(shares[y, x]) > 0.7 else "black"
        weight = "normal" if row.verdict == UNKNOWN else "bold"
        axes.text(x, y, f"{row.higher}/{row.lower}", ha="center", va="center", color=colour, weight=weight, size=9)
    axes.set_xticks(range(len(conditions)), conditions, size=8, rotation=0 if len(conditions) < 6 else 90)
    axes.set_yticks(range(len(layers)), layers, size=8)
    axes.set_title(f"{one.measure.replace('_', ' ')}: {one.verdict}", size=10, parse_math=False)
    return image
