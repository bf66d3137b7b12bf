"""Small movement around large offsets is seen, and rounding is not taken for movement."""

import itertools
import math

import numpy as np
import pytest

from drawn import panel, require_inside, words
from mien.analysis.candlestick import CandlestickConfig
from mien.analysis.candlestick import draw as draw_candles
from mien.analysis.movement import MovementConfig, draw, numbers
from mien.analysis.synthetic import SyntheticConfig, constant, expressions
from mien.errors import DatasetError

REAL, STILL = expressions(SyntheticConfig()), constant(SyntheticConfig())
SMALL = MovementConfig(size_in=(10, 5), dpi=50)


def test_numbers_are_those_of_loops() -> None:
    found, rows = numbers(REAL), REAL.tolist()
    assert found["change"] == pytest.approx([math.dist(a, b) for a, b in itertools.pairwise(rows)])
    columns = list(zip(*rows, strict=True))
    deviation = max(abs(value - math.fsum(column) / 50) for column in columns for value in column)
    assert found["max_deviation"] == pytest.approx(deviation)


def test_the_figure_shows_these_numbers() -> None:
    figure = draw(REAL, SMALL)
    above, below = figure.axes[:2]
    shown = above.images[0].get_array().data
    assert shown.mean(axis=1) == pytest.approx(np.zeros(128), abs=1e-12)
    assert np.diff(shown, axis=1) == pytest.approx(np.diff(REAL.T, axis=1))
    found = numbers(REAL)
    assert above.images[0].get_clim() == (-found["max_deviation"], found["max_deviation"])
    assert below.lines[0].get_xdata().tolist() == list(range(1, 50))
    assert below.lines[0].get_ydata().tolist() == found["change"]
    assert below.lines[1].get_ydata()[0] == pytest.approx(0.008542)
    require_inside(figure)


def test_movement_that_the_candles_hide_is_seen_here() -> None:
    """At the scale of real expressions, by how much a row of the heatmap changes its colour from left to right."""
    hidden = np.ptp(panel(draw_candles(REAL, CandlestickConfig(size_in=(10, 5), dpi=50)), 1), axis=1)
    seen = np.ptp(panel(draw(REAL, SMALL), 0), axis=1)
    assert np.median(hidden) < 0.05
    assert np.median(seen) > 5 * np.median(hidden)
    assert np.ptp(panel(draw(STILL, SMALL), 0), axis=1).max() == 0


def test_the_rounding_of_a_mean_is_no_movement() -> None:
    still = np.full((49, 3), 0.1)
    assert np.abs(still - still.mean(0)).max() > 0
    figure = draw(still, SMALL)
    assert np.ptp(panel(figure, 0), axis=(0, 1)).max() == 0
    assert "constant across all frames" in words(figure)


def test_the_order_of_frames_changes_the_picture() -> None:
    order = np.random.default_rng(3).permutation(50)
    assert max(numbers(REAL[order])["change"]) > 1.5 * max(numbers(REAL)["change"])
    assert not np.array_equal(panel(draw(REAL[order], SMALL), 1), panel(draw(REAL, SMALL), 1))


def test_one_frame_is_not_measurable() -> None:
    figure = draw(REAL[:1], SMALL)
    assert words(figure).count("not measurable") == 2
    assert numbers(REAL[:1])["change"] == []


def test_two_frames_have_one_change() -> None:
    assert draw(REAL[:2], SMALL).axes[1].lines[0].get_xdata().tolist() == [1]


def test_frames_that_are_no_numbers_are_refused() -> None:
    frames = REAL.copy()
    frames[3] = np.nan
    with pytest.raises(DatasetError, match="128 of 6400 numbers are not finite"):
        draw(frames, SMALL)
