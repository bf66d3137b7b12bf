"""What stands on a figure, read back from it."""

import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from mien.analysis.style import png


def pixels(figure: Figure) -> np.ndarray:
    """The PNG as [H, W, 4], 0 to 1."""
    return np.asarray(imread(io.BytesIO(png(figure))))


def panel(figure: Figure, number: int) -> np.ndarray:
    """Pixels within one pair of axes, [h, w, 3]."""
    image = pixels(figure)
    box = figure.axes[number].get_window_extent()
    top, bottom = (round(image.shape[0] - y) for y in (box.y1, box.y0))
    return image[top + 2 : bottom - 2, round(box.x0) + 2 : round(box.x1) - 2, :3]


def words(figure: Figure) -> str:
    """All text."""
    return " ".join(text.get_text().replace("\n", " ") for text in figure.findobj(Text))


def require_inside(figure: Figure) -> None:
    """Titles and labels lie on the figure, and titles do not run into each other."""
    height, width = pixels(figure).shape[:2]
    titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    labels = [axes.yaxis.label.get_window_extent() for axes in figure.axes if axes.get_ylabel()]
    for box in [*titles, *labels]:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    for place, box in enumerate(titles):
        assert not any(box.overlaps(other) for other in titles[:place])
