"""Options are bounded, limits are symmetric, and a figure is written beside its numbers."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from mien.analysis import style
from mien.analysis.candlestick import CandlestickConfig
from mien.analysis.style import FigureConfig
from mien.errors import ConfigError
from mien.storage.local import LocalStore

SMALL = FigureConfig(title="t", size_in=(4, 3), dpi=50)


def test_a_figure_and_its_numbers_lie_beside_each_other(tmp_path: Path) -> None:
    style.save(LocalStore(tmp_path), "candles/first", SMALL.canvas(), {"mean": 0.5})
    assert imread(io.BytesIO((tmp_path / "candles" / "first.png").read_bytes())).shape[:2] == (150, 200)
    assert json.loads((tmp_path / "candles" / "first.json").read_bytes()) == {"mean": 0.5}


def test_numbers_that_json_does_not_have_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        style.save(LocalStore(tmp_path), "bad", SMALL.canvas(), {"mean": float("nan")})


@pytest.mark.parametrize(
    ("key", "value"),
    [("cmap", "rainbow"), ("edge", "blue"), ("dpi", 5), ("size_in", [0, 3]), ("alpha", 2), ("title", "x" * 201)],
)
def test_options_that_cannot_be_drawn_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"run.yaml: {key}"):
        CandlestickConfig.parse({key: value}, "run.yaml")


def test_limits_are_symmetric_and_rounding_is_no_pattern() -> None:
    assert style.symmetric(np.array([-0.2, 0.5])) == (-0.5, 0.5)
    assert style.symmetric(np.array([0.0, 1e-17])) == (-1e-5, 1e-5)


def test_a_title_with_dollar_signs_is_no_formula() -> None:
    figure = SMALL.canvas()
    axes = figure.subplots()
    style.title(axes, r"a$\bad{$b")
    style.caption(figure, r"$\bad{$", is_warning=True)
    assert style.png(figure)
    assert axes.get_title() == r"a$\bad{$b"


def test_a_heatmap_has_frames_across_and_dimensions_down() -> None:
    figure = SMALL.canvas()
    axes = figure.subplots()
    frames = np.arange(6.0).reshape(3, 2)
    style.heatmap(axes, frames, "RdBu_r", (0, 9))
    (image,) = axes.images
    assert np.array_equal(image.get_array(), [[0, 2, 4], [1, 3, 5]])
    assert image.get_clim() == (0, 9)
    assert axes.get_xlim() == (-0.5, 2.5)
    assert len(figure.axes) == 2, "the colour bar"
