"""What is drawn and told is what the scales do, dimension by dimension."""

import json
import statistics
from dataclasses import replace

import numpy as np
import pytest

from drawn import panel, require_inside, words
from mien.analysis.normalisation import NormalisationConfig, draw, numbers, pictures, scaled, sentence
from mien.datasets.normalise import NormaliseConfig, normalise
from vector_scenes import vectors

SCENE = vectors(num_frames=20)
SMALL = NormalisationConfig(size_in=(12, 7), dpi=50)


def test_numbers_are_those_of_the_standard_library() -> None:
    found = numbers(SCENE, SMALL)["scales"]["none"]
    flat = SCENE.values.ravel().tolist()
    assert found["mean"] == pytest.approx(statistics.fmean(flat))
    assert found["std"] == pytest.approx(statistics.pstdev(flat))
    assert (found["min"], found["max"]) == (min(flat), max(flat))
    columns = SCENE.values.T.tolist()
    assert found["dimensions"]["std"] == pytest.approx([statistics.pstdev(column) for column in columns])
    assert found["dimensions"]["max"] == [max(column) for column in columns]
    assert json.dumps(numbers(SCENE, SMALL), allow_nan=False)


def test_each_scale_is_recognised_by_its_numbers() -> None:
    found = numbers(SCENE, SMALL)["scales"]
    assert found["standardise"]["dimensions"]["mean"] == pytest.approx([0] * 6, abs=1e-12)
    assert found["standardise"]["dimensions"]["std"] == pytest.approx([1] * 6)
    assert found["min_max"]["dimensions"]["min"] == [0] * 6
    assert found["min_max"]["dimensions"]["max"] == pytest.approx([1] * 6)
    assert [found[kind]["looks_normalised"] for kind in ("standardise", "min_max")] == [True, False]


def test_the_scope_is_what_the_pipeline_would_do() -> None:
    config = NormaliseConfig(kind="min_max", scope="clip")
    assert np.array_equal(scaled(SCENE, "clip")["min_max"], normalise(SCENE.values, SCENE.clip, config))
    assert "by clip" in words(draw(SCENE, SMALL.model_copy(update={"scope": "clip"})))


def test_the_figure_shows_these_values() -> None:
    figure = draw(SCENE, SMALL)
    above, below = figure.axes[0], figure.axes[3]
    assert sum(bar.get_height() for bar in above.patches) == SCENE.values.size
    assert above.lines[0].get_xdata()[0] == SCENE.values.mean()
    median = below.patches[-1].get_data().values
    assert median == pytest.approx(sorted(statistics.median(column) for column in SCENE.values.T.tolist()))
    low, high = below.patches[1].get_data().baseline, below.patches[1].get_data().values
    shown = SCENE.values[:, np.median(SCENE.values, axis=0).argsort()]
    assert ((shown >= low) & (shown <= high)).mean(0) == pytest.approx(np.full(6, 0.5), abs=0.02)
    require_inside(figure)


def test_other_vectors_are_another_picture() -> None:
    other = replace(SCENE, values=SCENE.values**3)
    for number in (0, 3):
        assert not np.array_equal(panel(draw(SCENE, SMALL), number), panel(draw(other, SMALL), number))


def test_dimensions_that_stand_still_are_told() -> None:
    still = replace(SCENE, values=np.where(np.arange(6) < 2, 0.1, SCENE.values))
    assert "the same in all frames: 2 of 6 dimensions" in words(draw(still, SMALL))
    assert numbers(still, SMALL)["scales"]["none"]["num_still"] == 2
    assert "the same in all frames" not in words(draw(SCENE, SMALL))


def test_both_pictures_have_their_numbers() -> None:
    config = NormalisationConfig(dpi=50, effect={"lags": (1, 2), "dpi": 50})  # type: ignore[arg-type]
    first, effect = pictures(SCENE, config)
    assert (first.name, effect.name) == ("normalisation", "normalisation_effect")
    assert json.loads(first.json or b"") == numbers(SCENE, config)
    assert json.loads(effect.json or b"")["lags"] == [1, 2]
    assert first.png != effect.png


def test_the_sentence_tells_whether_values_look_normalised() -> None:
    scene = replace(SCENE, values=normalise(SCENE.values, SCENE.clip, NormaliseConfig(kind="standardise")))
    assert "std 1, " in sentence(scene)
    assert ": look normalised; the same in all frames: 0 of 6 dimensions" in sentence(scene)
    assert "do not look normalised" in sentence(replace(scene, values=scene.values + 9))
