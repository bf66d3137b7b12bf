"""Target and prediction in common colours; differences against plain loops."""

import itertools
import statistics

import numpy as np
import pytest

from drawn import panel, pixels, require_inside, words
from mien.analysis.synthetic import SyntheticConfig, expressions
from mien.analysis.target_prediction import Pair, TargetPredictionConfig, draw, numbers, reduced
from mien.errors import DatasetError

TARGET = expressions(SyntheticConfig())
PREDICTION = TARGET + 0.001 * expressions(SyntheticConfig(scale="large", seed=5))
PAIR, SMALL = Pair(TARGET, PREDICTION), TargetPredictionConfig(dpi=40)


def test_numbers_are_those_of_loops() -> None:
    rows = [
        [p - t for t, p in zip(target, prediction, strict=True)]
        for target, prediction in zip(TARGET.tolist(), PREDICTION.tolist(), strict=True)
    ]
    every = [value for row in rows for value in row]
    found = numbers(PAIR)
    assert found["mean_absolute_difference"] == pytest.approx(statistics.fmean(map(abs, every)))
    assert found["max_absolute_difference"] == pytest.approx(max(map(abs, every)))
    assert found["mean_difference"] == pytest.approx(statistics.fmean(every))
    assert found["std_difference"] == pytest.approx(statistics.pstdev(every))
    assert (found["num_frames"], found["num_dimensions"]) == (50, 128)
    by_frame = [statistics.fmean(map(abs, row)) for row in rows]
    assert found["mean_absolute_difference_by_frame"] == pytest.approx(by_frame)


def test_groups_of_four_dimensions_are_averaged_as_in_the_seed() -> None:
    assert reduced(TARGET, 32) == pytest.approx(TARGET.reshape(50, 32, 4).mean(2))


@pytest.mark.parametrize("num_dimensions", [33, 45, 100, 127])
def test_dimensions_that_are_no_multiple_are_all_averaged(num_dimensions: int) -> None:
    frames = TARGET[:, :num_dimensions]
    edges = [row * num_dimensions // 32 for row in range(33)]
    expected = [frames[:, a:b].mean(1) for a, b in itertools.pairwise(edges)]
    assert reduced(frames, 32) == pytest.approx(np.stack(expected, 1))


@pytest.mark.parametrize("num_groups", [None, 128, 500])
def test_few_dimensions_stay_as_they_are(num_groups: int | None) -> None:
    assert reduced(TARGET, num_groups) is TARGET


def test_both_have_the_same_colours_and_the_titles_of_the_seed() -> None:
    figure = draw(PAIR, TargetPredictionConfig(title="Window 7"))
    above, below = figure.axes[:2]
    assert np.array_equal(above.images[0].get_array(), reduced(TARGET, 32).T)
    assert np.array_equal(below.images[0].get_array(), reduced(PREDICTION, 32).T)
    together = np.concatenate([reduced(TARGET, 32), reduced(PREDICTION, 32)])
    assert above.images[0].get_clim() == below.images[0].get_clim() == (together.min(), together.max())
    assert above.get_title() == "Window 7 - Target Expression (reduced to 32 dims)"
    assert below.get_title() == "Window 7 - Predicted Expression (reduced to 32 dims)"
    assert above.get_xticks().tolist() == list(range(0, 50, 5))
    assert above.get_yticks().tolist() == list(range(0, 32, 4))
    assert pixels(figure).shape[:2] == (800, 1600)
    assert f"Mean absolute difference {numbers(PAIR)['mean_absolute_difference']:.4g}" in words(figure)
    require_inside(figure)


def test_a_prediction_that_does_not_move_is_seen_without_offsets() -> None:
    frozen = Pair(TARGET, np.repeat(TARGET[:1], 50, axis=0))
    plain, moved = draw(frozen, SMALL), draw(frozen, TargetPredictionConfig(dpi=40, subtract_mean=True))
    contrast = [np.ptp(panel(figure, 0), axis=1).mean() for figure in (plain, moved)]
    assert contrast[1] > 3 * contrast[0]
    frozen_rows = panel(moved, 1)[10:-10:25]
    assert np.ptp(frozen_rows, axis=1).max() < 0.1, "only the grid"


def test_exchanged_target_and_prediction_change_the_picture() -> None:
    exchanged = Pair(PREDICTION, TARGET)
    assert numbers(exchanged)["mean_difference"] == pytest.approx(-numbers(PAIR)["mean_difference"])
    assert not np.array_equal(panel(draw(exchanged, SMALL), 0), panel(draw(PAIR, SMALL), 0))


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (Pair(TARGET, PREDICTION[:-1]), r"prediction: shape \[49, 128\] is not that of the target, \[50, 128\]"),
        (Pair(TARGET[:, None], PREDICTION), r"target: shape \[50, 1, 128\] is one frame of each item"),
        (Pair(TARGET, PREDICTION * np.nan), "prediction: 6400 of 6400 numbers are not finite"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(pair: Pair, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        numbers(pair)
    with pytest.raises(DatasetError, match=message):
        draw(pair, SMALL)


def test_labels_of_long_clips_stay_apart() -> None:
    long = expressions(SyntheticConfig(num_frames=2000, num_dimensions=8))
    assert len(draw(Pair(long, long), SMALL).axes[0].get_xticks()) <= 20
