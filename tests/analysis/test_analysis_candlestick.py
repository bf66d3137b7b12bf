"""Candles stand at the statistics of their frames, and constant frames look constant."""

import json
import statistics

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from drawn import panel, pixels, require_inside, words
from mien.analysis.candlestick import CandlestickConfig, draw, numbers
from mien.analysis.synthetic import SyntheticConfig, constant, expressions
from mien.errors import DatasetError

LARGE = expressions(SyntheticConfig(scale="large", num_frames=12, num_dimensions=9))
SMALL = CandlestickConfig(size_in=(10, 5), dpi=50)


def quantile(values: list[float], part: int) -> float:
    """A quartile by linear interpolation, of the standard library."""
    return statistics.quantiles(values, n=4, method="inclusive")[part - 1]


def test_numbers_are_those_of_the_standard_library() -> None:
    found = numbers(LARGE)["candles"]
    rows = LARGE.tolist()
    assert found["min"] == [min(row) for row in rows]
    assert found["max"] == [max(row) for row in rows]
    assert found["mean"] == pytest.approx([statistics.fmean(row) for row in rows])
    assert found["std"] == pytest.approx([statistics.pstdev(row) for row in rows])
    assert found["q25"] == pytest.approx([quantile(row, 1) for row in rows])
    assert found["q75"] == pytest.approx([quantile(row, 3) for row in rows])
    assert json.dumps(numbers(LARGE), allow_nan=False)


def parts(figure: Figure) -> tuple[PolyCollection, list[np.ndarray]]:
    """Boxes, and the segments [T, 2, 2] of lower and upper whiskers, lower and upper caps, means."""
    boxes, *lines = figure.axes[0].collections
    assert isinstance(boxes, PolyCollection)
    return boxes, [np.array(line.get_segments()) for line in lines if isinstance(line, LineCollection)]


def test_boxes_whiskers_caps_and_means_stand_where_the_seed_has_them() -> None:
    boxes, (lower, upper, low_cap, high_cap, mean) = parts(draw(LARGE, SMALL))
    rows = LARGE.tolist()
    for t, row in enumerate(rows):
        corners = boxes.get_paths()[t].vertices[:4]
        assert sorted(set(corners[:, 0])) == pytest.approx([t - 0.3, t + 0.3])
        assert sorted(set(corners[:, 1])) == pytest.approx([quantile(row, 1), quantile(row, 3)])
        assert lower[t] == pytest.approx(np.array([[t, min(row)], [t, quantile(row, 1)]]))
        assert upper[t] == pytest.approx(np.array([[t, quantile(row, 3)], [t, max(row)]]))
        assert low_cap[t] == pytest.approx(np.array([[t - 0.1, min(row)], [t + 0.1, min(row)]]))
        assert high_cap[t] == pytest.approx(np.array([[t - 0.1, max(row)], [t + 0.1, max(row)]]))
        mid = statistics.fmean(row)
        assert mean[t] == pytest.approx(np.array([[t - 0.3, mid], [t + 0.3, mid]]))


def test_size_titles_and_heatmap_are_those_of_the_seed() -> None:
    figure = draw(LARGE, CandlestickConfig(title="Test"))
    assert pixels(figure).shape[:2] == (1500, 3000)
    above, below, _ = figure.axes
    assert above.get_title() == "Test - Candlestick View (per frame statistics)"
    assert below.get_title() == "Test - All Dimensions Heatmap"
    assert (above.get_ylabel(), below.get_ylabel()) == ("Expression Value", "Expression Dimension")
    assert np.array_equal(below.images[0].get_array(), LARGE.T)
    assert below.images[0].get_cmap().name == "RdBu_r"
    assert above.get_xlim() == below.get_xlim()
    require_inside(figure)


def test_colours_are_those_of_the_config() -> None:
    config = CandlestickConfig(size_in=(10, 5), dpi=50, face="#00FF00", mean="#000000", cmap="coolwarm")
    figure = draw(LARGE, config)
    assert parts(figure)[0].get_facecolor()[0] == pytest.approx([0, 1, 0, 0.7])
    assert figure.axes[0].collections[-1].get_color()[0] == pytest.approx([0, 0, 0, 1])
    assert figure.axes[1].images[0].get_cmap().name == "coolwarm"


def test_the_number_of_artists_does_not_grow_with_the_frames() -> None:
    config = SyntheticConfig(num_frames=2000, num_dimensions=4)
    few, many = draw(LARGE, SMALL).axes[0], draw(expressions(config), SMALL).axes[0]
    assert len(many.get_children()) == len(few.get_children())


def test_frames_narrower_than_a_pixel_leave_no_gaps() -> None:
    figure = draw(expressions(SyntheticConfig(num_frames=2000, num_dimensions=4)), SMALL)
    corners = parts(figure)[0].get_paths()[7].vertices[:4, 0]
    assert (corners.min(), corners.max()) == (6.5, 7.5)
    seen = panel(figure, 0)
    middle = seen[len(seen) // 2]
    assert not (middle == 1).all(1).any(), "no white between the boxes"


def test_varying_frames_look_different_from_constant_ones() -> None:
    shape = {"num_frames": 12, "num_dimensions": 9, "scale": "large"}
    still = draw(constant(SyntheticConfig.parse(shape, "test")), SMALL)
    moving = draw(LARGE, SMALL)
    across = [np.ptp(panel(figure, 1).astype(float), axis=1).max() for figure in (still, moving)]
    assert across[0] == 0, "every row of the heatmap has one colour"
    assert across[1] > 0.5
    assert "Expressions are constant across all frames!" in words(still)
    assert "constant: True" in words(still)
    assert "constant: False" in words(moving)


def test_one_frame_is_drawn_and_said_to_be_one() -> None:
    figure = draw(LARGE[:1], SMALL)
    assert "not measurable: frames: 1" in words(figure)
    ticks = [tick for tick in figure.axes[0].get_xticks() if abs(tick) < 0.5]
    assert ticks == [0]


def test_one_frame_of_each_item_is_refused() -> None:
    for make in (numbers, lambda values: draw(values, SMALL)):
        with pytest.raises(DatasetError, match="one frame of each item"):
            make(LARGE[:, None])
