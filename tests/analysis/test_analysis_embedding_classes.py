"""Classes stand in their order with their intervals, groups and all pairs beside them."""

import numpy as np

from drawn import panel, require_inside, words
from embedding_scenes import CLASSES, embeddings
from mien.analysis.embedding_classes import ClassFigureConfig, draw, listed, numbers
from mien.evaluation.alignment import AlignmentConfig, Scene, compare
from mien.evaluation.bootstrap import BootstrapConfig
from mien.evaluation.classes import ClassesConfig, ClassReport, by_class

ROWS, TEXT, ANSWER = embeddings()
SMALL = ClassFigureConfig(size_in=(10, 7), dpi=50)
GAIN = np.linspace(3, -3, 10)
AFTER = ROWS + GAIN[ANSWER][:, None] * TEXT[ANSWER]


def report(after: np.ndarray = AFTER) -> ClassReport:
    scene = Scene(TEXT, ANSWER, np.arange(len(ROWS)))
    first, second = compare(ROWS, {"bridge": after}, scene, AlignmentConfig(num_directions=4))
    config = ClassesConfig(unseen=(CLASSES[0],))
    found = by_class((first.rows, second.rows), scene, CLASSES.tolist(), config, BootstrapConfig(num=200))
    assert isinstance(found, ClassReport)
    return found


def test_the_best_stand_above_the_worst() -> None:
    found = report()
    figure = draw(found, 3, SMALL)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 6
    assert labels[0].endswith("src=0> (15)")
    assert labels[-1].endswith("src=9> (15)")
    shown = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert shown == [one.difference.value for one in listed(found, 3)]
    low, high = figure.axes[0].get_xlim()
    assert low < min(shown) < max(shown) < high
    assert "Best and Worst of 10 Classes" in words(figure)
    require_inside(figure)


def test_all_classes_are_shown_if_they_are_few() -> None:
    assert listed(report(), 5) == list(report().classes)
    assert [one.name for one in listed(report(), 1)] == [CLASSES[0], CLASSES[-1]]


def test_groups_and_pairs_are_those_of_the_report() -> None:
    found = report()
    figure = draw(found, 3, SMALL)
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert names == ["all (10)", "common (10)", "seen (9)", "unseen (1)"]
    pairs = np.asarray(figure.axes[2].collections[0].get_offsets())
    assert np.allclose(pairs, [[one.before, one.after] for one in found.classes])
    assert numbers(found)["classes"][0]["name"] == CLASSES[0]


def test_another_gain_changes_the_picture() -> None:
    figures = draw(report(), 3, SMALL), draw(report(ROWS - GAIN[ANSWER][:, None] * TEXT[ANSWER]), 3, SMALL)
    assert not np.array_equal(panel(figures[0], 0), panel(figures[1], 0))
