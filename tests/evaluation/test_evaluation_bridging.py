"""Measures against numpy and scikit-learn, verdicts by intervals, and the promise: a bridge over a known gap helps.

The gap is a rotation and an offset of one latent. A diffusion bridge knows the target's distribution alone: it removes
the offset, and of a rotation what leads out of the target's distribution. A rotation within that it cannot see.
"""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score
from torch import Tensor
from torch.nn import functional

from mien.evaluation.bootstrap import Estimate
from mien.evaluation.bridging import (
    BridgingConfig,
    BridgingReport,
    HeldOutPairs,
    Judged,
    Measures,
    judge,
    markdown,
    verdict_of,
)
from mien.evaluation.report import plain
from mien.evaluation.translators import FitConfig, TrainingPairs, Translator, adapter, learned_projection, linear_map
from mien.objectives.bridge import EmbeddingBridge
from modalities import Gap, modalities, trained, translator

GAP = Gap(angle=0.6, offset=1.0)


@pytest.fixture(scope="module")
def of_target() -> EmbeddingBridge:
    """Trained on the target, which is the same with and without a gap."""
    return trained(modalities(GAP)[0].target)


@pytest.fixture(scope="module")
def of_source() -> EmbeddingBridge:
    """Trained on the modality that it should lead away from."""
    return trained(modalities(GAP)[0].source, modality="visual")


def report(gap: Gap, *bridges: EmbeddingBridge, fits: tuple[Translator, ...] = ()) -> BridgingReport:
    training, held_out = modalities(gap)
    own = [translator(bridge, training.means[0]) for bridge in bridges]
    return judge(held_out, training, [*own, *fits], BridgingConfig())


def named(found: BridgingReport, name: str) -> Judged:
    return next(one for one in found.translators if one.name == name)


def test_a_bridge_over_an_offset_and_a_small_rotation_helps(of_target: EmbeddingBridge) -> None:
    found = report(GAP, of_target)
    bridge = named(found, "bridge")
    assert bridge.verdict == "helps"
    assert bridge.minus_before.alignment.low > 0.15
    assert bridge.minus_before.top_1.low > 0.1
    assert bridge.minus_mean_shift.alignment.low > 0.02
    assert bridge.measures.alignment.value > 0.97
    assert bridge.mean_gap < 0.1 < 0.5 < found.mean_gap_before
    assert named(found, "noise").verdict == "harms"


def test_without_a_gap_a_bridge_changes_nothing_beyond_noise(of_target: EmbeddingBridge) -> None:
    found = report(Gap(), of_target)
    bridge = named(found, "bridge")
    assert bridge.verdict == "does not help"
    assert abs(bridge.minus_before.alignment.value) < 0.005
    assert bridge.minus_before.top_1.low <= 0 <= bridge.minus_before.top_1.high
    assert named(found, "mean shift").verdict == "does not help"


def test_a_bridge_that_learnt_the_wrong_modality_is_reported_as_not_helping(of_source: EmbeddingBridge) -> None:
    found = report(GAP, of_source)
    bridge = named(found, "bridge")
    assert (bridge.verdict, bridge.trained_on) == ("does not help", "visual")
    assert bridge.mean_gap == pytest.approx(found.mean_gap_before, abs=0.02)
    assert "| bridge, trained on visual | does not help |" in markdown(found)


def test_a_rotation_within_the_target_is_undone_by_pairs_and_not_by_a_bridge(of_target: EmbeddingBridge) -> None:
    gap, quick = Gap(latent_angle=1.5), FitConfig(num_steps=200, hidden_dim=128)
    training, _ = modalities(gap)
    fits = linear_map(training), learned_projection(training, quick), adapter(training, quick)
    found = report(gap, of_target, fits=fits)
    assert named(found, "bridge").verdict == "does not help"
    assert abs(named(found, "bridge").minus_before.top_1.value) < 0.05
    for fit in fits:
        assert named(found, fit.name).verdict == "helps"
        assert named(found, fit.name).measures.top_1.value > 0.95


def random_pairs(num: int = 60, gallery: int = 20, dim: int = 6) -> tuple[TrainingPairs, HeldOutPairs]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(gallery, dim, generator=generator)
    answer = torch.arange(num) % gallery
    source = targets[answer] + torch.randn(num, dim, generator=generator)
    return TrainingPairs(source + 1, targets[answer]), HeldOutPairs(source, targets, answer)


def doubled_first(x: Tensor) -> Tensor:
    return x * torch.tensor([2.0, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("frame", ["raw", "centred"])
def test_measures_are_those_of_numpy_and_scikit_learn(frame: str) -> None:
    training, pairs = random_pairs()
    found = judge(pairs, training, [Translator("test", doubled_first)], BridgingConfig(frame=frame))
    mean = training.target.mean(0).numpy() * (frame == "centred")

    def in_frame(x: Tensor) -> np.ndarray:
        moved = x.numpy() / np.linalg.norm(x, axis=1, keepdims=True) - mean
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)

    answer, gallery = pairs.answer.numpy(), in_frame(pairs.gallery)
    cases = [(pairs.source, found.before, found.mean_gap_before)]
    test = named(found, "test")
    cases.append((doubled_first(pairs.source), test.measures, test.mean_gap))
    for x, measures, gap in cases:
        cosine = in_frame(x) @ gallery.T
        assert measures.alignment.value == pytest.approx(cosine[np.arange(60), answer].mean(), abs=1e-5)
        assert measures.top_1.value == pytest.approx(top_k_accuracy_score(answer, cosine, k=1))
        assert measures.top_5.value == pytest.approx(top_k_accuracy_score(answer, cosine, k=5))
        assert gap == pytest.approx(np.linalg.norm(in_frame(x).mean(0) - gallery[answer].mean(0)), abs=1e-5)
    assert test.minus_before.top_5.value == pytest.approx(test.measures.top_5.value - found.before.top_5.value)
    assert (found.num_rows, found.num_answers, found.size_of_gallery) == (60, 20, 20)


def test_rows_of_one_answer_are_drawn_together() -> None:
    """Copies of a row are no more evidence."""
    training, pairs = random_pairs(num=20)
    copied = HeldOutPairs(pairs.source.repeat(30, 1), pairs.gallery, pairs.answer.repeat(30))
    few, many = (judge(one, training, [], BridgingConfig()).before.top_1 for one in (pairs, copied))
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_many_rows_are_compared_in_parts() -> None:
    training, pairs = random_pairs(num=2500)
    found = judge(pairs, training, [], BridgingConfig()).before
    cosine = functional.normalize(pairs.source) @ functional.normalize(pairs.gallery).T
    assert found.top_1.value == pytest.approx(float((cosine.argmax(1) == pairs.answer).float().mean()), abs=1e-6)


def test_what_is_alike_is_not_found() -> None:
    """All targets are one: the right one is not nearer than the others."""
    training, pairs = random_pairs()
    alike = HeldOutPairs(pairs.source, torch.ones(20, 6), pairs.answer)
    assert judge(alike, training, [], BridgingConfig()).before.top_5.value == 0


def change(alignment: tuple[float, float], top_1: tuple[float, float]) -> Measures:
    return Measures(*(Estimate(sum(bounds) / 2, *bounds) for bounds in (alignment, top_1, (0.0, 0.0))))


NONE, UP, DOWN, MAYBE = (0.0, 0.0), (0.05, 0.1), (-0.1, -0.05), (-0.1, 0.3)


@pytest.mark.parametrize(
    ("minus_before", "minus_mean_shift", "verdict"),
    [
        (change(UP, UP), change(UP, UP), "helps"),
        (change(UP, MAYBE), change(NONE, MAYBE), "helps"),
        (change(NONE, UP), change(MAYBE, NONE), "helps"),
        (change(UP, UP), change(UP, DOWN), "does not help"),
        (change(MAYBE, MAYBE), change(UP, UP), "does not help"),
        (change((0.001, 0.004), (0.002, 0.009)), change(NONE, NONE), "does not help"),
        (change((-0.004, -0.001), NONE), change(NONE, NONE), "does not help"),
        (change((math.nan, math.nan), (math.nan, math.nan)), change(NONE, NONE), "does not help"),
        (change(UP, DOWN), change(UP, UP), "harms"),
        (change(DOWN, MAYBE), change(UP, UP), "harms"),
    ],
)
def test_verdicts_follow_intervals(minus_before: Measures, minus_mean_shift: Measures, verdict: str) -> None:
    assert verdict_of(minus_before, minus_mean_shift, 0.01) == verdict


def test_a_report_is_a_document_and_a_table() -> None:
    training, pairs = random_pairs()
    found = judge(pairs, training, [Translator("test", doubled_first, "text")], BridgingConfig())
    document = json.loads(json.dumps(plain(found)))
    assert [one["name"] for one in document["translators"]] == ["mean shift", "noise", "test"]
    assert document["config"]["frame"] == "raw"
    assert document["before"]["top_1"].keys() == {"value", "low", "high"}
    text = markdown(found)
    assert text.startswith("60 held-out rows, 20 answers, gallery of 20; frame: raw. Intervals: 95%, over answers.")
    assert "| test, trained on text | " in text
    assert str(found.before.top_1) in text


@pytest.mark.parametrize(
    ("source", "answer", "message"),
    [
        (torch.ones(4, 3), torch.arange(3), r"answer: has shape \[3\] for 4 rows"),
        (torch.ones(0, 3), torch.arange(0), "give one each"),
        (torch.ones(4, 3), torch.tensor([0, 1, 2, 5]), "in 0 ≤ answer < 5"),
        (torch.ones(4, 2), torch.arange(4), "both modalities need one width"),
        (torch.zeros(4, 3), torch.arange(4), "is zero and has no direction"),
        (torch.full((4, 3), math.nan), torch.arange(4), "holds NaN"),
    ],
    ids=["rows", "none", "answer", "width", "zero", "nan"],
)
def test_pairs_that_do_not_fit(source: Tensor, answer: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HeldOutPairs(source, torch.ones(5, 3), answer)
