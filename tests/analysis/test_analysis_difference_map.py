"""The map shows prediction minus target, with zero in the middle of its colours."""

import numpy as np
import pytest

from drawn import panel, pixels, require_inside, words
from mien.analysis.difference_map import DifferenceMapConfig, Pair, draw, numbers
from mien.analysis.synthetic import SyntheticConfig, expressions
from mien.errors import DatasetError

TARGET = expressions(SyntheticConfig())
SMALL = DifferenceMapConfig(dpi=30)


def test_one_planted_difference_stands_at_its_place() -> None:
    prediction = TARGET.copy()
    prediction[30, 40:44] -= 0.02
    figure = draw(Pair(TARGET, prediction), DifferenceMapConfig())
    image = figure.axes[0].images[0]
    expected = np.zeros((32, 50))
    expected[10, 30] = -0.02
    assert image.get_array().data == pytest.approx(expected)
    assert image.get_clim() == pytest.approx((-0.02, 0.02))
    assert image.get_cmap().name == "coolwarm"
    difference = prediction - TARGET
    assert f"mean |difference| {np.abs(difference).mean():.4g}, std {difference.std():.4g}" in words(figure)
    assert pixels(figure).shape[:2] == (600, 1600)
    require_inside(figure)


def test_exchanged_target_and_prediction_exchange_the_colours() -> None:
    pair = Pair(TARGET, TARGET[::-1])
    red, blue = (panel(draw(made, SMALL), 0)[..., [0, 2]].mean((0, 1)) for made in (pair, Pair(*pair[::-1])))
    assert red - red[::-1] == pytest.approx(-(blue - blue[::-1]), abs=0.05)
    assert np.array_equal(
        draw(pair, SMALL).axes[0].images[0].get_array(), -draw(Pair(*pair[::-1]), SMALL).axes[0].images[0].get_array()
    )


def test_a_perfect_prediction_has_one_colour() -> None:
    image = draw(Pair(TARGET, TARGET), SMALL).axes[0].images[0]
    assert image.get_clim() == (-1e-5, 1e-5)
    assert not image.get_array().any()
    assert numbers(Pair(TARGET, TARGET))["max_absolute_difference"] == 0


def test_other_shapes_are_refused() -> None:
    with pytest.raises(DatasetError, match="is not that of the target"):
        draw(Pair(TARGET, TARGET[:, :64]), SMALL)
