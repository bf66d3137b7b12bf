"""Cosines and distances from the first frame are those of loops, and a scale that changes them is seen to."""

import json
import math
from dataclasses import replace
from operator import mul

import numpy as np
import pytest

from drawn import require_inside, words
from mien.analysis.dataset_vectors import Vectors
from mien.analysis.normalisation import scaled
from mien.analysis.normalisation_effect import EffectConfig, draw, effect, numbers
from vector_scenes import vectors

SCENE = vectors(num_frames=12, person=3)
CONFIG = EffectConfig(lags=(1, 5, 11), size_in=(10, 4), dpi=50)


def of_clip(scene: Vectors, clip: int) -> np.ndarray:
    return scene.values[scene.clip == clip]


def test_cosines_and_distances_are_those_of_loops() -> None:
    found = effect(SCENE, scaled(SCENE, "dataset"), CONFIG)["none"]
    for clip in range(6):
        rows = of_clip(SCENE, clip).tolist()
        length = [math.dist(row, [0] * 6) for row in rows]
        cosines = [sum(map(mul, rows[0], rows[lag])) / length[0] / length[lag] for lag in CONFIG.lags]
        distances = [math.dist(rows[0], rows[lag]) for lag in CONFIG.lags]
        assert found["cosine"][clip] == pytest.approx(cosines)
        assert found["distance"][clip] == pytest.approx([one / max(distances) for one in distances])


def test_means_are_over_clips_with_intervals_around_them() -> None:
    scales = scaled(SCENE, "dataset")
    told = numbers(SCENE, scales, CONFIG)
    by_clip = effect(SCENE, scales, CONFIG)["min_max"]["cosine"]
    assert [one["value"] for one in told["scales"]["min_max"]["cosine"]] == pytest.approx(by_clip.mean(0).tolist())
    assert all(one["low"] < one["value"] < one["high"] for one in told["scales"]["none"]["cosine"])
    assert told["num_clips_by_lag"] == [6, 6, 6]
    assert json.dumps(told, allow_nan=False)


def test_min_max_makes_what_is_apart_look_alike() -> None:
    """The known harm: values from 0 to 1 all point the same way."""
    apart = vectors(num_people=6, clips_of_person=1, num_frames=2, person=0)
    found = numbers(apart, scaled(apart, "dataset"), EffectConfig(lags=(1,)))["scales"]
    assert found["min_max"]["cosine"][0]["value"] > found["none"]["cosine"][0]["value"] + 0.1


def test_frames_are_found_by_their_number_and_not_by_their_row() -> None:
    """Frame 1 of every clip has no vector: what is 1 frame later is not there, and nothing takes its place."""
    kept = SCENE.frame != 1
    gap = replace(SCENE, values=SCENE.values[kept], clip=SCENE.clip[kept], frame=SCENE.frame[kept])
    found = effect(gap, {"none": gap.values}, CONFIG)["none"]
    whole = effect(SCENE, {"none": SCENE.values}, CONFIG)["none"]
    assert np.isnan(found["cosine"][:, 0]).all()
    assert np.array_equal(found["cosine"][:, 1:], whole["cosine"][:, 1:])
    told = numbers(gap, {"none": gap.values}, CONFIG)
    assert told["num_clips_by_lag"] == [0, 6, 6]
    assert told["scales"]["none"]["cosine"][0] == {"value": None, "low": None, "high": None}


def test_the_figure_shows_these_numbers() -> None:
    scales = scaled(SCENE, "dataset")
    figure, told = draw(SCENE, scales, CONFIG), numbers(SCENE, scales, CONFIG)["scales"]
    bars = [bar.get_height() for bar in figure.axes[0].containers[1]]
    assert bars == pytest.approx([one["value"] for one in told["none"]["cosine"]])
    line = figure.axes[1].containers[0].lines[0].get_ydata()
    assert line == pytest.approx([one["value"] for one in told["none"]["distance"]])
    assert "0, 11 6 clips" in words(figure)
    require_inside(figure)


def test_clips_that_are_too_short_say_so() -> None:
    figure = draw(SCENE, {"none": SCENE.values}, EffectConfig(lags=(99,), dpi=50))
    assert words(figure).count("no clip has a frame 99 frames after its first") == 2


def test_a_clip_that_stands_still_has_no_distance() -> None:
    still = replace(SCENE, values=np.ones_like(SCENE.values))
    found = effect(still, {"none": still.values}, CONFIG)["none"]
    assert found["distance"].max() == 0
    assert found["cosine"] == pytest.approx(np.ones((6, 3)))
    zero = effect(still, {"none": 0 * still.values}, CONFIG)["none"]
    assert np.isnan(zero["cosine"]).all()


def test_lags_that_no_clip_reaches_are_told_below_and_take_no_room() -> None:
    figure = draw(SCENE, {"none": SCENE.values}, CONFIG.model_copy(update={"lags": (1, 5, 50, 99)}))
    assert "no clip has a frame 50, 99 frames after its first" in words(figure)
    assert figure.axes[0].get_xlim() == pytest.approx((-0.6, 1.6))
    assert "no clip has" not in words(draw(SCENE, {"none": SCENE.values}, CONFIG))
