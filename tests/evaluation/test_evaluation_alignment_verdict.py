"""The seed's three examples get its three verdicts; without a doubt left out, and never for a collapse."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mien.evaluation.alignment import AlignmentConfig, Scene, System, compare
from mien.evaluation.alignment_verdict import ADVICE, Judgement, VerdictConfig, judge
from mien.evaluation.bootstrap import BootstrapConfig, Estimate, NotMeasurable

RNG = np.random.default_rng(0)
TEXT = RNG.normal(size=(8, 12))
ANSWER = np.arange(80) % 8
ROWS = TEXT[ANSWER] + 2 * RNG.normal(size=(80, 12))
CONFIG = AlignmentConfig(bootstrap=BootstrapConfig(num=200), num_directions=8)


def systems(after: np.ndarray) -> tuple[System, System]:
    first, second = compare(ROWS, {"bridge": after}, Scene(TEXT, ANSWER, np.arange(80)), CONFIG)
    return first, second


def told(percent: Estimate, std_before: float, std_after: float) -> Judgement:
    """Of rows that are the same in all else."""
    before, after = systems(ROWS)
    before = replace(before, spread=replace(before.spread, similarity_std=std_before))
    after = replace(after, spread=replace(after.spread, similarity_std=std_after), percent=percent)
    return judge(before, after, VerdictConfig())


@pytest.mark.parametrize(
    ("percent", "std_after", "verdict"),
    [
        (Estimate(37, 30, 44), 0.09, "good"),
        (Estimate(-5, -8, -2), 0.14, "poor"),
        (Estimate(5, 3, 7), 0.11, "mixed"),
        (Estimate(37, 30, 44), 0.14, "mixed"),
        (Estimate(1, 0.5, 1.5), 0.14, "poor"),
        (Estimate(1, 0.5, 1.5), 0.11, "mixed"),
        (Estimate(37, -2, 80), 0.09, "not distinguishable"),
        (Estimate(-5, -12, 2), 0.14, "not distinguishable"),
        (Estimate(37, float("nan"), float("nan")), 0.09, "not distinguishable"),
    ],
)
def test_verdicts_follow_gain_interval_and_spread(percent: Estimate, std_after: float, verdict: str) -> None:
    found = told(percent, 0.12, std_after)
    assert found.verdict == verdict
    assert found.advice == ADVICE[found.verdict]
    assert f"{percent.value:+.1f} %" in found.reasons[0]


def test_a_percentage_of_next_to_nothing_is_not_good() -> None:
    before, after = systems(ROWS)
    after = replace(after, percent=Estimate(2769, 2000, 3500))
    faint = replace(before, measures=replace(before.measures, similarity=Estimate(0.01, 0.0, 0.02)))
    wide = replace(faint, spread=replace(faint.spread, similarity_std=1.0))
    found = judge(wide, after, VerdictConfig())
    assert found.verdict == "mixed"
    assert "of a similarity of 0.010, so that the percentage tells little" in found.reasons[0]


def judged(after: np.ndarray) -> Judgement:
    return judge(*systems(after), VerdictConfig())


def test_all_rows_at_one_text_are_near_and_poor() -> None:
    found = judged(np.repeat(TEXT[:1], 80, axis=0) + 0.01 * ROWS)
    assert (found.verdict, found.is_smoothed, found.is_collapsed) == ("poor", True, True)
    assert any("over-smoothing" in reason for reason in found.reasons)
    assert any("collapse" in reason for reason in found.reasons)


def test_rows_at_the_wrong_text_are_near_and_poor() -> None:
    found = judged(TEXT[(ANSWER + 1) % 8] + 0.3 * RNG.normal(size=(80, 12)))
    assert (found.verdict, found.is_smoothed, found.is_collapsed) == ("poor", False, False)
    assert any("fewer rows have their own text nearest" in reason for reason in found.reasons)


def test_rows_nearer_to_their_own_text_are_good_and_the_same_are_nothing() -> None:
    assert judged(TEXT[ANSWER] + 0.5 * RNG.normal(size=(80, 12))).verdict == "good"
    assert judged(ROWS).verdict == "not distinguishable"


def test_without_labels_the_verdict_stands_on_similarity_alone() -> None:
    scene: Any = Scene(TEXT, np.full(80, -1), np.arange(80))
    first, second = compare(ROWS, {"bridge": TEXT[ANSWER] + 0.5 * RNG.normal(size=(80, 12))}, scene, CONFIG)
    assert isinstance(second.measures.top_1, NotMeasurable)
    assert judge(first, second, VerdictConfig()).verdict == "good"
    with pytest.raises(ValueError, match="nothing was before it"):
        judge(first, first, VerdictConfig())
