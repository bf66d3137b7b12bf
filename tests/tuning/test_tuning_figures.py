"""The figures show the numbers of the trials, with every label inside and apart."""

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from mien.analysis.trials import State, Trial, pareto
from mien.evaluation.bootstrap import NotMeasurable
from mien.losses.weights import Anchors, Constant
from mien.tuning import figures
from mien.tuning.importance import Importance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RNG = np.random.default_rng(0)
METRICS: Any = {"error": "lowest", "rank": "highest"}


def trials(num: int = 12) -> list[Trial]:
    """The lower the rate, the lower the error; every third was stopped, the last one failed."""
    found = []
    for number in range(num):
        rate, state = 10.0 ** -(1 + number / 4), ("done", "done", "stopped")[number % 3]
        steps = 3 if state == "stopped" else 6
        reports = [(10 * s, {"error": 1 / s + rate, "rank": 5.0 - number % 4}) for s in range(1, steps + 1)]
        values = {
            "optimizer.learning_rate.peak": rate,
            "objective.weights.temporal": {"initial": 1.0 * number, "final": 2.0 + number % 2},
            "optimizer.kind": ("adam", "a_kind_with_a_name_that_is_long")[number % 2],
            "batch.size": 4,
        }
        found.append(Trial(number, state, values, tuple(reports)))
    return [*found, Trial(num, "failed", {"optimizer.learning_rate.peak": 0.1}, reason="out of memory")]


def texts(figure: "Figure") -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def test_one_line_per_trial_goes_through_its_values_and_the_best_is_thick_and_on_top() -> None:
    figure = figures.parallel_coordinates(trials(), "error", "lowest", best=10)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 5]
    assert len(lines) == 12
    thick = max(lines, key=lambda line: line.get_linewidth())
    assert thick.get_zorder() == max(line.get_zorder() for line in lines)
    rates = np.linspace(1, 0, 12)
    assert thick.get_ydata()[0] == pytest.approx(rates[10]), "logarithmic: the rates are a geometric series"
    shown = [label.get_text().replace("\n", "") for label in figure.axes[0].get_xticklabels()]
    assert shown == ["learning_rate.peak(log)", "temporal.initial", "temporal.final", "optimizer.kind", "error"]
    assert "trials: 12" in figure.axes[0].get_title()


def test_the_metric_stands_against_each_key_that_varied() -> None:
    figure = figures.metric_against(trials(), "error", "lowest", best=10)
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_xlabel() for axes in shown] == [
        "learning_rate.peak (log)",
        "temporal.initial",
        "temporal.final",
        "optimizer.kind",
    ]
    done, stopped, _, ring = shown[0].collections[:4]
    assert (len(done.get_offsets()), len(stopped.get_offsets())) == (8, 4)
    expected = [1 - 10 / 11, 1 / 6 + 10**-3.5]
    np.testing.assert_allclose(ring.get_offsets(), [expected], atol=1e-9)
    assert [label.get_text() for label in shown[3].get_xticklabels()] == ["a_kind_with_a_nam…", "adam"]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"8 done", "4 stopped", "best"}


def test_curves_are_the_histories_with_a_mark_where_one_was_stopped() -> None:
    figure = figures.learning_curves(trials(), "error", "lowest", best=10)
    axes = figure.axes[0]
    curves = [line for line in axes.lines if len(line.get_xdata()) > 1]
    assert len(curves) == 12
    assert list(curves[0].get_xdata()) == [10, 20, 30, 40, 50, 60]
    assert list(curves[0].get_ydata()) == pytest.approx([1 / s + 0.1 for s in range(1, 7)])
    assert sum(len(line.get_xdata()) == 1 and line.get_marker() == "v" for line in axes.lines) == 4
    assert axes.get_title() == "trials: 12; 1 reported nothing"
    assert max(curves, key=lambda line: line.get_linewidth()).get_label() == "best: trial 10"


def test_a_first_report_far_off_does_not_flatten_the_rest() -> None:
    history = ((0, {"error": 1e6}), *((step, {"error": 1 / step}) for step in range(1, 20)))
    axes = figures.learning_curves([Trial(0, "done", {}, history)], "error", "lowest", best=0).axes[0]
    assert axes.get_ylim()[1] < 10
    assert axes.get_ylim()[0] <= 1 / 19


def test_bars_are_the_importances() -> None:
    found = Importance(("a.rate", "b.rate"), np.array([0.5, 0.1]), np.array([0.1, 0.02]), 0.81, "only 12 trials")
    axes = figures.importance_bars(found, "error").axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a.rate", "b.rate"]
    assert axes.get_title() == "A forest on all keys: R² 0.81; only 12 trials"


def test_the_front_is_that_of_the_results() -> None:
    figure = figures.pareto_front(trials(), METRICS)
    others, front = figure.axes[0].collections
    expected = pareto(trials(), METRICS)
    assert len(others.get_offsets()) == 12
    points = sorted((trial.metrics["error"], trial.metrics["rank"]) for trial in expected)
    np.testing.assert_allclose(sorted(map(tuple, front.get_offsets())), points)
    assert {text.get_text() for text in figure.axes[0].texts} == {str(trial.number) for trial in expected}


def test_three_metrics_have_three_panels() -> None:
    rows = [Trial(n, "done", {}, ((1, {"a": 1.0 * n, "b": -1.0 * n, "c": 0.0}),)) for n in range(3)]
    figure = figures.pareto_front(rows, {"a": "lowest", "b": "lowest", "c": "highest"})
    assert [(axes.get_xlabel()[0], axes.get_ylabel()[0]) for axes in figure.axes] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]


def test_schedules_are_those_of_the_best_beside_those_before() -> None:
    curve = Anchors(initial=0.1, warmup=0.3, final=0.2, warmup_steps=50)
    best = {"temporal": curve, "diversity": Constant(level=0.5)}
    figure = figures.best_schedules(best, {"temporal": Constant(level=0.4)}, 200, "trial 3")
    temporal, diversity = (axes for axes in figure.axes if axes.axison)
    own, before = temporal.lines
    assert own.get_ydata()[0] == pytest.approx(0.1)
    assert own.get_ydata()[list(own.get_xdata()).index(50)] == pytest.approx(0.3)
    assert own.get_ydata()[-1] == pytest.approx(0.2)
    assert set(before.get_ydata()) == {0.4}
    assert len(diversity.lines) == 1
    assert temporal.get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("values", "places", "labels", "is_log"),
    [
        ([1, 2, 5], [0, 0.25, 1], ["1", "2", "5"], False),
        ([1e-4, 1e-2, 1e-3], [0, 1, 0.5], ["0.0001", "0.001", "0.01"], True),
        ([0.01, 0.4, 0.6, 1.0], [0, 0.394, 0.596, 1], ["0.01", "0.4", "0.6", "1"], False),
        ([3, None, 3], [0, math.nan, 0], ["3"], False),
        (["b", "a", None, "b"], [1, 0, math.nan, 1], ["a", "b"], False),
        ([True, False], [1, 0], ["False", "True"], False),
        ([None, None], [math.nan, math.nan], [], False),
    ],
)
def test_values_have_their_places_on_an_axis(
    values: list[Any], places: list[float], labels: list[str], is_log: bool
) -> None:
    found = figures.axis(values)
    np.testing.assert_allclose(found.places, places, atol=1e-3)
    assert [label for _, label in found.ticks] == labels
    assert found.is_log is is_log


def test_names_are_as_short_as_they_tell_keys_apart() -> None:
    keys = ["a.b.final", "c.b.final", "optimizer.learning_rate.peak", "seed"]
    assert list(figures.short_names(keys).values()) == ["a.b.final", "c.b.final", "learning_rate.peak", "seed"]


def every_figure(some: list[Trial]) -> dict[str, "Figure"]:
    best = some[0].number if some else 0
    keys = tuple(f"objective.weights.key_{n}.final" for n in range(9))
    return {
        "parallel": figures.parallel_coordinates(some, "error", "lowest", best),
        "against": figures.metric_against(some, "error", "lowest", best),
        "curves": figures.learning_curves(some, "error", "lowest", best),
        "importance": figures.importance_bars(
            Importance(keys, np.arange(9) / 9, np.ones(9) / 10, 0.5, "a note that is long " * 9), "error"
        ),
        "pareto": figures.pareto_front(some, METRICS),
        "schedules": figures.best_schedules({key: Constant(level=1) for key in keys[:4]}, {}, 10, "a title " * 20),
    }


def lone(state: State) -> list[Trial]:
    return [Trial(0, state, {"a": 1}, ((1, {"error": 0.5, "rank": 1.0}),))]


@pytest.mark.parametrize("some", [trials(40), lone("running"), []], ids=len)
def test_labels_stand_inside_and_apart(some: list[Trial], tmp_path: Path) -> None:
    for name, figure in every_figure(some).items():
        figure.savefig(tmp_path / f"{name}.png")
        height, width = imread(tmp_path / f"{name}.png").shape[:2]
        labels = [text for axes in figure.axes if axes.axison for text in (axes.title, axes.xaxis.label)]
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes), name
        assert not any(box.overlaps(other) for box in boxes for other in boxes if other is not box), name
        for axes in figure.axes:
            ticks = [label.get_window_extent() for label in axes.get_xticklabels() if axes.axison and label.get_text()]
            assert not any(left.x1 > right.x0 for left, right in pairwise(ticks)), name


def test_what_cannot_be_drawn_gives_its_reason() -> None:
    assert "no trial has error" in texts(figures.learning_curves([], "error", "lowest", 0))
    assert "no key varied" in texts(figures.metric_against(lone("done"), "error", "lowest", 0))
    assert "9 trials have error" in texts(figures.importance_bars(NotMeasurable("9 trials have error"), "error"))
    assert "two metrics or more" in texts(figures.pareto_front(trials(), {"error": "lowest"}))
    assert "there is no weight" in texts(figures.best_schedules({}, {}, 10, ""))
