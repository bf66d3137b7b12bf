"""Histograms, pairs and changes are those of the rows."""

from dataclasses import replace

import numpy as np

from drawn import panel, require_inside, words
from embedding_scenes import embeddings
from mien.analysis.embedding_effect import EffectConfig, draw, numbers
from mien.evaluation.alignment import AlignmentConfig, Rows, Scene, compare

ROWS, TEXT, ANSWER = embeddings()
SMALL = EffectConfig(size_in=(8, 7), dpi=50)


def rows() -> tuple[Rows, Rows]:
    scene = Scene(TEXT, ANSWER, np.arange(len(ROWS)))
    after = ROWS - 0.9 * (ROWS.mean(0) - TEXT.mean(0))
    first, second = compare(ROWS, {"bridge": after}, scene, AlignmentConfig(num_directions=4))
    return first.rows, second.rows


def test_histograms_hold_every_row() -> None:
    before, after = rows()
    figure = draw(before, after, SMALL)
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    low, high = (
        min(before.similarity.min(), after.similarity.min()),
        max(before.similarity.max(), after.similarity.max()),
    )
    edges = np.linspace(low, high, 31)
    assert bars == [*np.histogram(before.similarity, edges)[0], *np.histogram(after.similarity, edges)[0]]
    assert figure.axes[0].lines[0].get_xdata()[0] == before.similarity.mean()
    require_inside(figure)


def test_pairs_and_changes_of_the_nearest_text() -> None:
    before, after = rows()
    figure = draw(before, after, SMALL)
    assert np.allclose(figure.axes[2].collections[0].get_offsets(), np.stack([before.similarity, after.similarity], 1))
    changed = sum(a != b for a, b in zip(before.nearest, after.nearest, strict=True))
    assert [patch.get_height() for patch in figure.axes[3].patches] == [len(ROWS) - changed, changed]
    assert changed > 0
    found = numbers(before, after)
    right = [one.nearest == ANSWER for one in (before, after)]
    assert found["num_became_right"] == (~right[0] & right[1]).sum()
    assert found["num_became_wrong"] == (right[0] & ~right[1]).sum()
    assert f"became right: {found['num_became_right']}" in words(figure)
    assert found["after"]["similarity"] == after.similarity.tolist()


def test_lengths_that_are_one_by_construction_are_told() -> None:
    before, after = rows()
    assert "by construction" not in words(draw(before, after, SMALL))
    assert "by construction" in words(draw(before, replace(after, norm=np.ones(len(ROWS))), SMALL))


def test_swapped_rows_change_the_picture() -> None:
    before, after = rows()
    figures = draw(before, after, SMALL), draw(after, before, SMALL)
    for number in (0, 2):
        assert not np.array_equal(panel(figures[0], number), panel(figures[1], number))


def test_without_labels_nothing_is_said_of_right_and_wrong() -> None:
    unknown = [replace(one, rank=np.full(len(ROWS), -1)) for one in rows()]
    assert "became" not in words(draw(unknown[0], unknown[1], SMALL))
    assert numbers(unknown[0], unknown[1])["num_became_right"] == 0
