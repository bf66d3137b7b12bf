"""Pairs are sorted as loops sort them, people who differ are told apart, and shuffled labels change the picture."""

import itertools
import json
import statistics
from dataclasses import replace
from operator import mul

import numpy as np
import pytest

from drawn import panel, require_inside, words
from mien.analysis.dataset_vectors import Vectors
from mien.analysis.subject_similarity import SubjectSimilarityConfig, draw, numbers, sentence, similarity
from mien.errors import DatasetError
from mien.evaluation.bootstrap import NotMeasurable
from vector_scenes import vectors

SMALL = SubjectSimilarityConfig(size_in=(16, 5), dpi=50, bootstrap={"num": 100})  # type: ignore[arg-type]
SCENE = vectors(person=2)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(map(mul, a, b)) / (sum(map(mul, a, a)) * sum(map(mul, b, b))) ** 0.5


def pairs(scene: Vectors) -> dict[str, list[float]]:
    """Cosines by kind of pair, from loops."""
    found: dict[str, list[float]] = {"clip": [], "person": [], "people": []}
    rows = scene.values.tolist()
    for i, j in itertools.combinations(range(len(rows)), 2):
        same_person = scene.subjects[scene.clip[i]] == scene.subjects[scene.clip[j]]
        kind = "clip" if scene.clip[i] == scene.clip[j] else "person" if same_person else "people"
        found[kind].append(cosine(rows[i], rows[j]))
    return found


def test_pairs_are_sorted_as_loops_sort_them() -> None:
    found, expected = similarity(SCENE, SMALL), pairs(SCENE)
    for kind, values in found.pairs.items():
        assert sorted(values) == pytest.approx(sorted(expected[kind]))
    assert min(found.pairs["people"]) < 0, "negative ones are not dropped"
    told = numbers(SCENE, SMALL)["pairs"]["people"]
    assert told["mean"] == pytest.approx(statistics.fmean(expected["people"]))
    assert told["std"] == pytest.approx(statistics.pstdev(expected["people"]))
    assert told["count"] == len(expected["people"]) == 300


def test_the_matrix_compares_different_clips_alone() -> None:
    matrix, rows = similarity(SCENE, SMALL).matrix, SCENE.values.tolist()
    for a, b in itertools.product(range(3), repeat=2):
        expected = [
            cosine(rows[i], rows[j])
            for i, j in itertools.product(range(len(rows)), repeat=2)
            if (SCENE.subject[i], SCENE.subject[j]) == (a, b) and SCENE.clip[i] != SCENE.clip[j]
        ]
        assert matrix[a, b] == pytest.approx(statistics.fmean(expected))


def test_people_who_differ_are_told_apart_and_others_are_not() -> None:
    apart = numbers(vectors(6, 4, person=5), SMALL)["separation"]
    assert apart["margin"]["low"] > 0.5
    assert apart["nearest"]["value"] == 1
    assert apart["chance"] == pytest.approx(3 / 23)
    alike = [numbers(vectors(6, 4, person=0, seed=seed), SMALL)["separation"] for seed in range(20)]
    assert abs(statistics.fmean(one["margin"]["value"] for one in alike)) < 0.05
    assert sum(one["margin"]["low"] <= 0 <= one["margin"]["high"] for one in alike) >= 15
    assert statistics.fmean(one["nearest"]["value"] for one in alike) == pytest.approx(3 / 23, abs=0.05)


def test_shuffled_labels_change_numbers_and_picture() -> None:
    scene = vectors(4, 3, person=4)
    shuffled = replace(scene, subjects=tuple(f"person {number // 3}" for number in range(12)))
    assert numbers(scene, SMALL)["separation"]["nearest"]["value"] == 1
    assert numbers(shuffled, SMALL)["separation"]["nearest"]["value"] < 0.5
    for number in (0, 2):
        assert not np.array_equal(panel(draw(scene, SMALL), number), panel(draw(shuffled, SMALL), number))


def test_the_figure_shows_these_numbers() -> None:
    figure = draw(SCENE, SMALL)
    told = numbers(SCENE, SMALL)
    assert json.dumps(told, allow_nan=False)
    image = figure.axes[2].images[0].get_array()
    assert np.asarray(image) == pytest.approx(np.array(told["matrix"]))
    for kind in ("clip", "person", "people"):
        assert f"{told['pairs'][kind]['mean']:.3f} ±" in words(figure)
    assert len(figure.axes[1].collections[0].get_paths()) == 1
    assert "Same person minus others" in words(figure)
    require_inside(figure)


def test_what_all_share_is_taken_away_where_that_is_asked_for() -> None:
    shifted = replace(SCENE, values=SCENE.values + 50)
    raw, centred = (numbers(shifted, SMALL.model_copy(update={"centred": one}))["pairs"] for one in (False, True))
    assert raw["people"]["min"] > 0.9
    assert centred["people"]["mean"] < 0


def test_frames_are_taken_from_every_clip_alike() -> None:
    few = similarity(vectors(3, 2, 50), SMALL.model_copy(update={"max_frames": 24}))
    assert [len(values) for _, values in few.clips] == [4 * 3 // 2] * 6


def test_one_clip_of_each_person_is_no_measure_of_people() -> None:
    scene = vectors(3, 1)
    assert isinstance(similarity(scene, SMALL).separation, NotMeasurable)
    told = numbers(scene, SMALL)
    assert [told["matrix"][place][place] for place in range(3)] == [None] * 3
    assert told["pairs"]["person"] == {"count": 0}
    text = words(draw(scene, SMALL))
    assert "not measurable: no person has two clips" in text
    assert "one person, two clips: no pair" in text


def test_one_person_has_no_matrix() -> None:
    assert "there is one person only" in words(draw(vectors(1, 3), SMALL))


def test_frames_that_are_all_one_are_drawn() -> None:
    same = replace(SCENE, values=np.ones_like(SCENE.values))
    assert numbers(same, SMALL)["pairs"]["people"]["min"] == pytest.approx(1)
    require_inside(draw(same, SMALL))


def test_one_frame_and_zeros_are_refused() -> None:
    with pytest.raises(DatasetError, match="planted: 1 frame has nothing to be compared with"):
        draw(vectors(1, 1, 1), SMALL)
    with pytest.raises(DatasetError, match="planted: 30 of 30 vectors are 0"):
        draw(replace(SCENE, values=0 * SCENE.values), SMALL)


def test_the_sentence_is_the_caption_of_the_figure() -> None:
    told = sentence(similarity(SCENE, SMALL).separation)
    assert told.startswith("Same person minus others, other clips: ")
    assert told in words(draw(SCENE, SMALL))
    assert sentence(NotMeasurable("one person")) == "Whether people are told apart is not measurable: one person"
