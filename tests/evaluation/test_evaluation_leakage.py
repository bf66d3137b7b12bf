"""The probe for the subject finds an identity that was planted, and none where there is none."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from embedded_scenes import embedded
from mien.evaluation.bootstrap import BootstrapConfig, NotMeasurable
from mien.evaluation.embedded import Embedded
from mien.evaluation.leakage import LeakageConfig, LeakageResult, balanced

SUBJECT = embedded().subject


def found(frames: Embedded) -> LeakageResult:
    result = LeakageConfig().build(BootstrapConfig())(frames)
    assert isinstance(result, LeakageResult)
    return result


def test_a_planted_identity_is_read_without_a_mistake(rng: np.random.Generator) -> None:
    tokens = rng.normal(size=(4, 16))[SUBJECT] + 0.05 * rng.normal(size=(800, 16))
    result = found(embedded(tokens=tokens))
    assert (result.tokens.value, result.tokens.low, result.tokens.high) == (1, 1, 1)
    assert result.tokens_minus_shuffled.low > 0.4
    assert result.baseline_minus_tokens.high < -0.5
    assert result.shuffled.value == pytest.approx(0.25, abs=0.15)


def test_without_identity_the_accuracy_is_chance(rng: np.random.Generator) -> None:
    """16 data sets of 320 held-out frames: their mean varies by 0.006 around 0.25."""
    results = [found(embedded(tokens=rng.normal(size=(800, 16)))) for _ in range(16)]
    assert {result.chance for result in results} == {0.25}
    for name in ("tokens", "shuffled"):
        estimates = [getattr(result, name) for result in results]
        assert np.mean([estimate.value for estimate in estimates]) == pytest.approx(0.25, abs=0.02)
    assert sum(result.tokens.low <= 0.25 <= result.tokens.high for result in results) >= 13
    assert sum(result.tokens_minus_shuffled.low <= 0 <= result.tokens_minus_shuffled.high for result in results) >= 13


def test_the_mark_of_a_clip_is_no_identity(rng: np.random.Generator) -> None:
    """Tokens that name their clip tell nothing of the subject of another, and the interval owns to the doubt."""
    tokens = rng.normal(size=(20, 16))[embedded().clip] + 0.01 * rng.normal(size=(800, 16))
    result = found(embedded(tokens=tokens))
    assert result.tokens.low <= 0.3
    assert result.tokens.high - result.tokens.low > 0.2


def test_a_subject_with_most_frames_wins_nothing() -> None:
    """A token that tells nothing is right by chance, though two thirds of the frames are of one subject."""
    clip = np.repeat(np.arange(12), 40)
    frames = embedded(12, subject=np.where(clip < 8, 0, 1), is_held_out=clip % 2 == 1)
    result = found(frames)
    assert result.majority == pytest.approx(2 / 3)
    assert result.chance == 0.5
    assert result.tokens.value == pytest.approx(0.5, abs=0.12)
    assert result.tokens_of_frames.value < 0.6  # without weights, the fit would name the majority throughout


def test_balanced_accuracy_is_that_of_scikit_learn(rng: np.random.Generator) -> None:
    subject, named = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    subject[:120] = 0
    weight = balanced(subject)
    assert (weight * (subject == named)).sum() / weight.sum() == pytest.approx(balanced_accuracy_score(subject, named))
    assert weight.sum() == pytest.approx(200)


def test_only_subjects_with_clips_on_both_sides_take_part() -> None:
    subject = SUBJECT.copy()
    subject[embedded().clip == 1] = 10  # a training clip alone
    subject[embedded().clip == 5] = 11  # a held-out clip alone
    result = found(embedded(subject=subject))
    assert (result.num_subjects, result.num_subjects_left_out, result.num_clips) == (4, 2, 7)


@pytest.mark.parametrize(
    ("frames", "num"),
    [
        (embedded(num_clips=1), 0),
        (embedded(subject=np.zeros(800, int)), 1),
        (embedded(is_held_out=np.zeros(800, bool)), 0),
        (embedded(subject=embedded().clip), 0),
    ],
    ids=["one clip", "one subject", "none held out", "every clip another subject"],
)
def test_fewer_than_two_subjects_cannot_be_told_apart(frames: Embedded, num: int) -> None:
    result = LeakageConfig().build(BootstrapConfig())(frames)
    assert isinstance(result, NotMeasurable)
    assert f"both sides of the split: {num};" in result.reason


def test_the_same_data_give_the_same_numbers() -> None:
    assert found(embedded()) == found(embedded())


def test_each_person_has_a_share_of_their_own(rng: np.random.Generator) -> None:
    """Two people are marked, two are not; the mean over people is the balanced accuracy."""
    marks = 5 * rng.normal(size=(4, 16))
    marks[2:] = 0
    result = found(embedded(tokens=marks[SUBJECT] + rng.normal(size=(800, 16))))
    assert result.subjects == (0, 1, 2, 3)
    shares = [estimate.value for estimate in result.of_subject]
    assert min(shares[:2]) > 0.99
    assert max(shares[2:]) < 0.9
    assert np.mean(shares) == pytest.approx(result.tokens.value)
    assert all(estimate.low < estimate.value < estimate.high for estimate in result.of_subject[2:])


def test_a_person_with_one_held_out_clip_has_no_interval() -> None:
    clip = np.repeat(np.arange(8), 10)
    result = found(embedded(8, 10, subject=clip % 2, is_held_out=clip >= 5))
    assert [np.isnan(estimate.low) for estimate in result.of_subject] == [True, False]
