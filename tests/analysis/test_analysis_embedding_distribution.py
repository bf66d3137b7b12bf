"""Bars are the measures, lines their intervals, and better is up and green."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from drawn import panel, require_inside, words
from embedding_scenes import embeddings
from mien.analysis.embedding_distribution import DistributionConfig, draw, numbers
from mien.evaluation.alignment import AlignmentConfig, Scene, System, compare
from mien.evaluation.bootstrap import Estimate

ROWS, TEXT, ANSWER = embeddings()
SMALL = DistributionConfig(size_in=(9, 7), dpi=50)
NEARER = ROWS - 0.9 * (ROWS.mean(0) - TEXT.mean(0))


def systems(after: np.ndarray = NEARER) -> list[System]:
    scene = Scene(TEXT, ANSWER, np.arange(len(ROWS)) // 2)
    return compare(ROWS, {"bridge": after}, scene, AlignmentConfig(num_directions=8))


def heights(figure: Figure, number: int) -> list[float]:
    return [patch.get_height() for patch in figure.axes[number].patches]


def test_bars_are_the_measures() -> None:
    before, after = systems()
    figure = draw(before, after, 5.5, SMALL)
    assert heights(figure, 0) == [before.measures.similarity.value, after.measures.similarity.value]
    assert heights(figure, 1) == [before.measures.norm.value, after.measures.norm.value, 5.5]
    assert heights(figure, 2) == [before.measures.text_distance.value, after.measures.text_distance.value]
    assert after.minus_before is not None
    change = after.minus_before.similarity.value
    assert heights(figure, 3) == pytest.approx([change, change])
    assert figure.axes[0].get_ylim() == (0, 1)
    assert f"{before.measures.similarity.value:.3f}" in words(figure)
    assert f"{change:+.4f}" in words(figure)
    line = figure.axes[0].collections[0].get_segments()[0]
    assert line[:, 1].tolist() == pytest.approx([before.measures.similarity.low, before.measures.similarity.high])
    require_inside(figure)


def test_better_is_green_worse_is_red_and_what_cannot_be_told_is_pale() -> None:
    before, nearer = systems()
    _, farther = systems(ROWS + 3 * (ROWS.mean(0) - TEXT.mean(0)))
    _, same = systems(ROWS)
    drawn = [draw(before, after, 1.0, SMALL).axes[3].patches[0] for after in (nearer, farther, same)]
    assert [to_hex(patch.get_facecolor()) for patch in drawn[:2]] == ["#27ae60", "#b00020"]
    assert [patch.get_alpha() for patch in drawn] == [1, 1, 0.45]


def test_what_is_below_zero_is_drawn_with_its_interval_and_number() -> None:
    _, opposite = systems(-ROWS)
    before, _ = systems()
    worse = replace(before, measures=replace(before.measures, similarity=Estimate(-0.4, -0.7, -0.2)))
    figure = draw(worse, opposite, 1.0, SMALL)
    assert figure.axes[0].get_ylim()[0] < -0.7
    assert "-0.400" in words(figure)
    require_inside(figure)


def test_without_a_bridge_there_are_two_panels() -> None:
    before, _ = systems()
    figure = draw(before, None, 1.0, SMALL)
    assert len(figure.axes) == 2
    assert heights(figure, 0) == [before.measures.similarity.value]
    assert "After" not in words(figure)
    require_inside(figure)
    assert numbers(before, None, 1.0)["after"] is None


def test_swapped_systems_change_the_picture() -> None:
    before, after = systems()
    assert not np.array_equal(panel(draw(before, None, 1.0, SMALL), 0), panel(draw(after, None, 1.0, SMALL), 0))
    assert numbers(before, after, 2.0)["minus_before"]["similarity"]["value"] > 0
