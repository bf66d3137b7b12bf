"""Measures against loops over rows, in one frame for all; a change is seen where there is one, and not where not."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from mien.evaluation.alignment import NO_ANSWER, AlignmentConfig, Scene, System, compare
from mien.evaluation.bootstrap import BootstrapConfig, Estimate, NotMeasurable

N, M, D = 120, 9, 16
RNG = np.random.default_rng(0)
TEXT = RNG.normal(size=(M, D))
ANSWER = RNG.integers(0, M, N)
OFFSET = 2 * RNG.normal(size=D)
BEFORE = TEXT[ANSWER] + 1.2 * RNG.normal(size=(N, D)) + OFFSET
AFTER = BEFORE - OFFSET
GROUP = np.arange(N) // 3
SCENE = Scene(TEXT, ANSWER, GROUP)
CONFIG = AlignmentConfig(bootstrap=BootstrapConfig(num=300), num_directions=16)


def unit(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def run(after: np.ndarray = AFTER, scene: Scene = SCENE, **config: object) -> tuple[System, System]:
    first, second = compare(BEFORE, {"bridge": after}, scene, CONFIG.model_copy(update=config))
    return first, second


def test_measures_of_rows_are_those_of_scipy() -> None:
    for system, values in zip(run(), (BEFORE, AFTER), strict=True):
        distance = cdist(values, TEXT, "cosine")
        found = system.measures
        assert found.similarity.value == pytest.approx(1 - distance.min(1).mean())
        assert found.text_distance.value == pytest.approx(distance.min(1).mean())
        assert system.spread.similarity_std == pytest.approx(distance.min(1).std())
        assert found.norm.value == pytest.approx(np.linalg.norm(values, axis=1).mean())
        assert system.spread.norm_std == pytest.approx(np.linalg.norm(values, axis=1).std())
        assert found.intra_distance.value == pytest.approx(pdist(values, "cosine").mean())
        assert found.gap.value == pytest.approx(np.linalg.norm(unit(values).mean(0) - unit(TEXT).mean(0)))
        own = distance[np.arange(N), ANSWER]
        assert isinstance(found.alignment, Estimate)
        assert isinstance(found.top_1, Estimate)
        assert isinstance(found.top_5, Estimate)
        assert found.alignment.value == pytest.approx(1 - own.mean())
        place = (distance < own[:, None]).sum(1)
        assert (found.top_1.value, found.top_5.value) == pytest.approx(((place < 1).mean(), (place < 5).mean()))
        assert np.array_equal(system.rows.nearest, distance.argmin(1))
        share = np.bincount(distance.argmin(1)) / N
        assert system.spread.top_share == pytest.approx(share.max())
        assert system.spread.num_nearest == pytest.approx(math.prod(p**-p for p in share if p))


def test_text_as_rows_is_at_no_distance_and_random_ones_are_where_theory_has_them() -> None:
    """512 dimensions, 212 texts: the expected largest of 212 normal cosines is about 2.75 / √512 ≈ 0.12."""
    text = np.random.default_rng(1).normal(size=(212, 512))
    scene = Scene(text, np.arange(212), np.arange(212))
    same = compare(text, {}, scene, CONFIG)[0].measures
    assert same.similarity.value == pytest.approx(1)
    assert same.gap.value == pytest.approx(0, abs=1e-12)
    assert same.sliced_wasserstein.value == pytest.approx(0, abs=1e-12)
    random = compare(np.random.default_rng(2).normal(size=(212, 512)), {}, scene, CONFIG)[0].measures
    assert random.similarity.value == pytest.approx(0.12, abs=0.005)


def test_changes_are_paired() -> None:
    first, second = run()
    assert second.minus_before is not None
    assert second.percent is not None
    change = second.minus_before.similarity
    assert change.value == pytest.approx(second.measures.similarity.value - first.measures.similarity.value)
    assert second.percent.value == pytest.approx(100 * change.value / first.measures.similarity.value)
    difference = second.rows.similarity - first.rows.similarity
    by_image = difference.reshape(-1, 3).mean(1)
    reach = 1.96 * by_image.std(ddof=1) / math.sqrt(len(by_image))
    assert change.high - change.low == pytest.approx(2 * reach, rel=0.2)
    assert second.minus_before.gap.high < 0
    assert second.minus_before.kernel_distance.high < 0
    assert second.minus_before.sliced_wasserstein.high < 0


def test_the_same_rows_change_nothing_and_longer_ones_their_norm_alone() -> None:
    _, same = run(BEFORE)
    assert same.minus_before is not None
    for name in ("similarity", "intra_distance", "gap", "kernel_distance", "sliced_wasserstein", "top_1"):
        one = getattr(same.minus_before, name)
        assert (one.value, one.low, one.high) == pytest.approx((0, 0, 0), abs=1e-12)
    _, longer = run(3 * BEFORE)
    assert longer.minus_before is not None
    assert longer.minus_before.similarity.value == pytest.approx(0, abs=1e-9)
    assert longer.measures.norm.value == pytest.approx(3 * np.linalg.norm(BEFORE, axis=1).mean())


def test_everything_is_in_one_frame() -> None:
    """Around the mean of the texts: rows before, rows after and texts, all three."""
    mean = unit(TEXT).mean(0)
    for system, values in zip(run(frame="centred"), (BEFORE, AFTER), strict=True):
        distance = cdist(unit(values) - mean, unit(TEXT) - mean, "cosine")
        assert system.measures.similarity.value == pytest.approx(1 - distance.min(1).mean())


def test_shuffled_labels_change_what_depends_on_them() -> None:
    first, _ = run()
    other, _ = run(scene=Scene(TEXT, RNG.permutation(ANSWER), GROUP))
    assert isinstance(first.measures.top_1, Estimate)
    assert isinstance(other.measures.top_1, Estimate)
    assert other.measures.top_1.high < first.measures.top_1.low
    assert other.measures.similarity == first.measures.similarity


def test_rows_without_a_label_take_no_part_in_retrieval() -> None:
    some = np.where(np.arange(N) < 60, ANSWER, NO_ANSWER)
    found = run(scene=Scene(TEXT, some, GROUP))[0].measures
    expected = 1 - cdist(BEFORE, TEXT, "cosine")[np.arange(60), ANSWER[:60]].mean()
    assert isinstance(found.alignment, Estimate)
    assert found.alignment.value == pytest.approx(expected)
    none = run(scene=Scene(TEXT, np.full(N, NO_ANSWER), GROUP))[0].measures
    assert isinstance(none.top_1, NotMeasurable)
    assert none.similarity.value > 0


def test_of_many_rows_some_are_taken_for_distances_of_distributions() -> None:
    whole, some = (run(max_rows=most)[0].measures for most in (N, 40))
    assert some.kernel_distance.value != whole.kernel_distance.value
    assert some.kernel_distance.value == pytest.approx(whole.kernel_distance.value, abs=0.1)
    assert some.similarity == whole.similarity


@pytest.mark.parametrize(
    ("text", "answer", "after", "message"),
    [
        (TEXT[:1], ANSWER, AFTER, "text: 1 embedding; what is nearest is told of two classes and more"),
        (TEXT, ANSWER[:5], AFTER, "rows: 5 with 120 groups"),
        (TEXT, ANSWER, AFTER[:5], r"bridge: has shape \[5, 16\], but rows before \[120, 16\]"),
        (TEXT, ANSWER, np.where(np.arange(D) == 3, np.nan, AFTER), "holds NaN or infinity"),
    ],
    ids=["one class", "groups", "rows", "nan"],
)
def test_what_does_not_fit_is_told(text: np.ndarray, answer: np.ndarray, after: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(after, Scene(text, answer, GROUP))


def test_embeddings_of_another_width_are_refused() -> None:
    with pytest.raises((ValueError, RuntimeError)):
        compare(BEFORE[:, :5], {}, SCENE, CONFIG)
