"""Curves are those of the log, and another log gives another picture."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from drawn import panel, pixels, require_inside, words
from mien.analysis.training_curves import (
    Panel,
    TrainingCurvesConfig,
    draw,
    figures,
    numbers,
    pictures,
    sentence,
    smoothed,
    summary,
    thinned,
    warmup_steps,
)
from mien.errors import DatasetError
from mien.evaluation.run_log import Logged, Series, logged
from mien.storage.local import LocalStore
from mien.training.log import LogConfig, RunLog

SMALL = TrainingCurvesConfig(size_in=(4, 3), dpi=50, smooth=1)
LOSS = [Panel("loss", ("loss",))]


def loss_at(step: int) -> float:
    return 1 + 1 / step


def write(store: LocalStore, num_steps: int = 20, loss: Callable[[int], float] = loss_at) -> LocalStore:
    """The log of a run, by the writer of training."""
    log = RunLog(store, LogConfig(), 0, [])
    for step in range(1, num_steps + 1):
        values = {"loss": loss(step), "temporal": 0.5, "weight/temporal": step / 10, "learning_rate": 1e-3 / step}
        log.write(step, "train", {**values, "gradient_norm": 2.0, "epoch": step / 4, "stage": 1.0})
        if step % 5 == 0:
            tokens = {"similarity_mean": 0.5, "similarity_std": 0.1, "effective_rank": float(step)}
            log.write(step, "validation", {"loss": 3.0, "temporal": 0.6, **tokens})
    log.flush()
    return store


@pytest.fixture
def run(tmp_path: Path) -> Logged:
    """20 steps, validated at every fifth."""
    return logged(write(LocalStore(tmp_path / "run")))


def of(values: list[float]) -> Logged:
    """A run that logged these losses."""
    series = Series(np.arange(1, len(values) + 1), np.array(values))
    return Logged("run", {"train": {"loss": series}, "validation": {}}, ())


def line(figure: Figure, axes: int = 0, number: int = 0) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in figure.axes[axes].lines[number].get_xydata()]


def test_every_number_has_its_figure(run: Logged) -> None:
    found = {name: [panel.names for panel in panels] for name, panels in figures({"a": run}).items()}
    assert found == {
        "losses": [("loss",), ("temporal",)],
        "schedules": [("learning_rate",), ("weight/temporal",)],
        "collapse": [("similarity_mean",), ("similarity_std",), ("effective_rank",)],
        "pace": [("gradient_norm",)],
        "other": [("stage",)],
    }


def test_lines_stand_where_the_log_says(run: Logged) -> None:
    figure = draw({"a": run}, figures({"a": run})["losses"], SMALL)
    assert line(figure) == [(step, loss_at(step)) for step in range(1, 21)]
    assert line(figure, 0, 1) == [(5, 3.0), (10, 3.0), (15, 3.0), (20, 3.0)]
    assert line(figure, 1, 1)[0] == (5, 0.6)
    assert "Training - a: step 20" in words(figure)
    require_inside(figure)


def test_the_band_is_one_std_to_both_sides(run: Logged) -> None:
    figure = draw({"a": run}, figures({"a": run})["collapse"][:1], SMALL)
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx((0.4, 0.6))


def test_the_band_of_cosines_ends_at_one() -> None:
    steps = np.array([1, 2])
    cosines = {"similarity_mean": Series(steps, np.full(2, 0.8)), "similarity_std": Series(steps, np.full(2, 0.5))}
    run = Logged("run", {"train": {}, "validation": cosines}, ())
    figure = draw({"a": run}, figures({"a": run})["collapse"][:1], SMALL)
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx((0.3, 1.0))


def test_numbers_are_those_of_a_loop(run: Logged) -> None:
    found = numbers({"a": run}, LOSS, SMALL)["a"]["series"]
    losses = [loss_at(step) for step in range(1, 21)]
    assert found["train"]["loss"]["value"] == losses
    assert found["train"]["loss"]["first"] == {"step": 1, "value": losses[0]}
    assert found["train"]["loss"]["least"] == {"step": 20, "value": min(losses)}
    assert found["train"]["loss"]["greatest"] == {"step": 1, "value": max(losses)}
    assert found["validation"]["loss"]["last"] == {"step": 20, "value": 3.0}


def test_another_log_is_another_picture(run: Logged, tmp_path: Path) -> None:
    rising = logged(write(LocalStore(tmp_path / "rising"), loss=lambda step: step / 10))
    assert not np.array_equal(panel(draw({"a": run}, LOSS, SMALL), 0), panel(draw({"a": rising}, LOSS, SMALL), 0))


def test_runs_lie_over_one_another_in_their_own_colours(run: Logged, tmp_path: Path) -> None:
    other = logged(write(LocalStore(tmp_path / "other"), num_steps=10))
    figure = draw({"first": run, "$second": other}, LOSS, SMALL)
    colours = [drawn.get_color() for drawn in figure.axes[0].lines]
    assert [colours[0], colours[2]] == [colours[1], colours[3]]
    assert colours[0] != colours[2]
    assert line(figure, 0, 2)[-1] == pytest.approx((10, 1.1))
    assert "$second, validation" in words(figure)


def test_weights_share_a_panel_and_runs_are_told_by_their_dashes(run: Logged) -> None:
    weights = figures({"a": run})["schedules"][1]
    figure = draw({"a": run, "b": run}, [Panel("weights", ("learning_rate", *weights.names))], SMALL)
    colours, styles = zip(*((one.get_color(), one.get_linestyle()) for one in figure.axes[0].lines), strict=True)
    assert colours[:2] == colours[2:]
    assert styles == ("-", "-", "--", "--")
    assert "temporal, b" in words(figure)


def test_several_names_of_several_runs_show_validation_alone(run: Logged) -> None:
    both = [Panel("both", ("loss", "temporal"))]
    assert len(draw({"a": run}, both, SMALL).axes[0].lines) == 4
    axes = draw({"a": run, "b": run}, both, SMALL).axes[0]
    assert [len(drawn.get_xdata()) for drawn in axes.lines] == [4] * 4
    assert "temporal, b" in axes.get_legend_handles_labels()[1]


def test_smoothing_is_the_mean_around_each() -> None:
    values = [1.0, 2.0, math.nan, 8.0, math.inf, 2.0]
    finite = [[v for v in values[max(0, i - 1) : i + 2] if math.isfinite(v)] for i in range(6)]
    assert smoothed(np.array(values), 3).tolist() == pytest.approx([sum(v) / len(v) for v in finite])
    assert math.isnan(smoothed(np.array([math.nan, 1.0]), 1)[0])


def test_a_spike_spoils_only_its_neighbours() -> None:
    values = np.ones(40)
    values[5] = 1e20
    assert smoothed(values, 5)[8:].tolist() == [1.0] * 32


def test_training_is_smoothed_over_its_own_line_and_schedules_are_not() -> None:
    noisy = of([1.0, 3.0] * 50)
    figure = draw({"a": noisy}, LOSS, SMALL.model_copy(update={"smooth": 10}))
    raw, mean = figure.axes[0].lines
    assert np.ptp(raw.get_ydata()) == 2
    assert np.ptp(mean.get_ydata()[5:-5]) < 0.2
    assert len(draw({"a": noisy}, LOSS, SMALL).axes[0].lines) == 1


def test_a_long_line_keeps_its_spikes_and_its_ends() -> None:
    values = np.sin(np.arange(50_000) / 3000)
    values[31_007], values[20_003] = 40, -40
    found = thinned(Series(np.arange(50_000), values), 100)
    assert len(found.step) <= 100
    assert {0, 20_003, 31_007, 49_999} <= {*found.step.tolist()}
    assert (np.diff(found.step) > 0).all()
    assert np.array_equal(found.value, values[found.step])


def test_what_is_not_finite_is_a_gap_and_is_told() -> None:
    run = of([1.0, math.nan, math.inf, 2.0])
    figure = draw({"a": run}, LOSS, SMALL)
    assert "not finite at 2 logged values" in words(figure)
    told = numbers({"a": run}, LOSS, SMALL)["a"]["series"]["train"]["loss"]
    assert told["value"] == [1.0, None, None, 2.0]
    assert told["num_not_finite"] == 2


def test_losses_that_fall_far_have_a_logarithmic_axis_and_rates_have_not() -> None:
    assert draw({"a": of([1e3, 1.0])}, LOSS, SMALL).axes[0].get_yscale() == "log"
    assert draw({"a": of([1e3, -1.0])}, LOSS, SMALL).axes[0].get_yscale() == "linear"
    rate = {"train": {"learning_rate": Series(np.array([1, 2]), np.array([1e-6, 1e-3]))}, "validation": {}}
    axes = draw({"a": Logged("run", rate, ())}, [Panel("rate", ("learning_rate",))], SMALL).axes[0]
    assert axes.get_yscale() == "linear"


@pytest.mark.parametrize(("second", "scale"), [(0.001, "log"), (3.0, "linear"), (0.0, "linear")])
def test_weights_that_lie_far_apart_have_a_logarithmic_axis(second: float, scale: str) -> None:
    steps = np.array([1, 2])
    weights = {name: Series(steps, np.full(2, value)) for name, value in (("weight/a", 30.0), ("weight/b", second))}
    run = Logged("run", {"train": weights, "validation": {}}, ())
    assert draw({"a": run}, [Panel("weights", tuple(weights))], SMALL).axes[0].get_yscale() == scale


def test_nothing_finite_is_no_picture() -> None:
    with pytest.raises(DatasetError, match="a: has no finite number of loss"):
        draw({"a": of([math.nan])}, LOSS, SMALL)


def test_one_step_is_a_point() -> None:
    assert draw({"a": of([1.0])}, LOSS, SMALL).axes[0].lines[0].get_marker() == "o"


def test_all_pictures_of_a_run_have_their_numbers(run: Logged) -> None:
    drawn, left_out = pictures({"mine": run}, SMALL, {"mine": 7})
    assert [one.name for one in drawn] == ["losses", "schedules", "collapse", "pace", "other"]
    assert not left_out
    told = json.loads(drawn[1].json or b"")
    assert told["warmup_steps"] == {"mine": 7}
    assert told["runs"]["mine"]["series"]["train"]["weight/temporal"]["last"] == {"step": 20, "value": 2.0}


def test_a_figure_without_a_finite_number_is_left_out_and_told() -> None:
    series = {"loss": Series(np.array([1, 2]), np.array([2.0, 1.0])), "odd": Series(np.array([1]), np.array([np.nan]))}
    drawn, left_out = pictures({"a": Logged("run", {"train": series, "validation": {}}, ())}, SMALL, {})
    assert [one.name for one in drawn] == ["losses"]
    assert left_out == ["other: a: has no finite number of odd; see its log for why"]
    with pytest.raises(DatasetError, match="losses: a: has no finite number of loss"):
        pictures({"a": of([math.nan])}, SMALL, {})


def test_a_run_is_summed_up_by_its_last_and_its_least_loss() -> None:
    values = [math.nan, 4.0, 2.0]
    train, seen = Series(np.array([1, 2, 3]), np.array(values)), Series(np.array([2, 3]), np.array([1.5, 1.75]))
    found = summary(Logged("run", {"train": {"loss": train}, "validation": {"loss": seen}}, (0, 2)))
    assert found == {
        "uri": "run",
        "last_step": 3,
        "num_starts": 2,
        "loss": 2.0,
        "validation_loss": 1.75,
        "best": {"step": 2, "value": 1.5},
        "num_not_finite": 1,
    }
    assert sentence(found) == ("step 3, loss 2, validation loss 1.75, least 1.5 at step 2, NOT FINITE: 1 logged values")


def test_the_warm_up_is_that_of_the_config(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert warmup_steps(store) is None
    store.replace("config.yaml", b"optimizer: {learning_rate: {kind: cosine, peak: 0.001, warmup_steps: 7}}\n")
    assert warmup_steps(store) == 7
    store.replace("config.yaml", b"optimizer: {learning_rate: 0.001}\n")
    assert warmup_steps(store) is None


def test_the_end_of_the_warm_up_is_a_red_line(run: Logged) -> None:
    axes = draw({"a": run}, LOSS, SMALL, {"a": 7}).axes[0]
    assert [one.get_xdata()[0] for one in axes.lines if one.get_color() == "#B00020"] == [7]


def test_panels_are_as_large_as_the_config_says(run: Logged) -> None:
    height, width = pixels(draw({"a": run}, [*LOSS] * 4, SMALL)).shape[:2]
    assert (height, width) == (300, 600)
    assert TrainingCurvesConfig().columns == 3
