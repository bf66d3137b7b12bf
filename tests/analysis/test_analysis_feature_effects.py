"""Every cell of the picture says its counts."""

import numpy as np

from mien.analysis.feature_consistency import Consistency, ConsistencyConfig, Table, compare
from mien.analysis.feature_effects import draw

LAYERS, CONDITIONS = ("in_conv", "bottleneck"), ("clean_t0", "noisy_t100", "noisy_t900")


def consistency(measure: str, shift: float) -> Consistency:
    values = np.random.default_rng(0).normal(size=(7, 2, 3, 2))
    values[:, 1, 2, 1] += shift
    return compare(Table(measure, LAYERS, CONDITIONS, values), ConsistencyConfig())


def test_cells_stand_at_their_layer_and_condition_with_their_counts() -> None:
    found = [consistency("hoyer", 20), consistency("std", -20)]
    figure = draw(found, ("Left", "Right"))
    assert "Right against Left" in figure.get_suptitle()
    panels = [axes for axes in figure.axes if axes.images]
    for axes, one in zip(panels, found, strict=False):
        assert axes.get_title() == f"{one.measure}: {one.verdict}"
        assert [label.get_text() for label in axes.get_yticklabels()] == [*LAYERS]
        assert [label.get_text() for label in axes.get_xticklabels()] == [*CONDITIONS]
        shares = np.asarray(axes.images[0].get_array())
        for text, cell in zip(axes.texts, one.cells, strict=True):
            x, y = (int(place) for place in text.get_position())
            assert (LAYERS[y], CONDITIONS[x]) == (cell.layer, cell.condition)
            assert text.get_text() == f"{cell.higher}/{cell.lower}"
            assert shares[y, x] == (cell.higher - cell.lower) / 7
            assert (text.get_weight() == "bold") == (cell.verdict != "not distinguishable")
        assert [text.get_text() for text in axes.texts][5] == ("7/0" if one.measure == "hoyer" else "0/7")


def test_what_is_told_apart_changes_the_picture() -> None:
    def shares(shift: float) -> np.ndarray:
        return np.asarray(draw([consistency("hoyer", shift)]).axes[0].images[0].get_array())

    assert (shares(20) != shares(-20)).sum() == 1
