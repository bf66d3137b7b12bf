"""The closed form against scikit-learn's ridge regression, classifier and cross-validation by groups."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mien.evaluation.ridge import RidgeConfig

RNG = np.random.default_rng(0)
CLIP = np.repeat(np.arange(10), 8)
X = RNG.normal(size=(80, 7)) * np.arange(1, 8) + 3
Y = X @ RNG.normal(size=(7, 3)) + RNG.normal(size=(80, 3)) * [1, 60, 70]


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 1e3])
def test_coefficients_are_those_of_scikit_learn(penalty: float) -> None:
    found = RidgeConfig(penalties=(penalty,)).build()(X, Y, CLIP)
    expected = make_pipeline(StandardScaler(), Ridge(penalty)).fit(X, Y).predict(X)
    assert np.allclose(found.predict(X), expected)


def test_weights_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    weight = rng.uniform(0.1, 3, 80)
    found = RidgeConfig(penalties=(5.0,)).build()(X, Y, CLIP, weight)
    scaler = StandardScaler().fit(X, sample_weight=weight)
    expected = Ridge(5.0).fit(scaler.transform(X), Y, sample_weight=weight).predict(scaler.transform(X))
    assert np.allclose(found.predict(X), expected)


def test_the_highest_score_is_the_ridge_classifier() -> None:
    subject = CLIP % 3
    targets = 2.0 * np.eye(3)[subject] - 1
    shifted = X + np.outer(subject, np.arange(7))
    found = RidgeConfig(penalties=(2.0,)).build()(shifted, targets, CLIP).predict(shifted)
    scaled = StandardScaler().fit_transform(shifted)
    classifier = RidgeClassifier(2.0).fit(scaled, subject)
    assert np.allclose(found, classifier.decision_function(scaled))
    assert np.array_equal(found.argmax(1), classifier.predict(scaled))


def errors_by_clip(penalty: float) -> np.ndarray:
    """Squared error of each target on clips left out, by scikit-learn: [3]."""
    model = make_pipeline(StandardScaler(), Ridge(penalty))
    return ((cross_val_predict(model, X, Y, groups=CLIP, cv=GroupKFold(10)) - Y) ** 2).sum(0)


def test_the_penalty_is_the_best_on_clips_left_out() -> None:
    penalties = tuple(np.geomspace(0.1, 1e3, 16).tolist())
    errors = np.array([errors_by_clip(penalty) for penalty in penalties])
    config = RidgeConfig(penalties=penalties, num_folds=10)
    assert config.build()(X, Y, CLIP).penalty.tolist() == [penalties[n] for n in errors.argmin(0)]
    shared = config.build(is_shared=True)(X, Y, CLIP).penalty
    assert shared.tolist() == [penalties[errors.sum(1).argmin()]] * 3
    assert len({*config.build()(X, Y, CLIP).penalty.tolist()}) > 1


def test_frames_of_a_clip_are_never_on_both_sides(rng: np.random.Generator) -> None:
    """Inputs that name the clip tell all of a target that is constant in it, but nothing of another clip's."""
    inputs = rng.normal(size=(10, 30))[CLIP] + 0.01 * rng.normal(size=(80, 30))
    targets = rng.normal(size=(10, 40))[CLIP]
    by_clip, by_frame = (RidgeConfig().build()(inputs, targets, group).penalty for group in (CLIP, np.arange(80)))
    assert by_frame.max() <= 1
    assert np.median(by_clip) >= 100


def test_more_inputs_than_frames_and_constant_inputs(rng: np.random.Generator) -> None:
    wide = np.concatenate([rng.normal(size=(80, 200)), np.full((80, 1), 0.1), np.zeros((80, 1))], axis=1)
    found = RidgeConfig(penalties=(10.0,)).build()(wide, Y, CLIP)
    expected = make_pipeline(StandardScaler(), Ridge(10.0)).fit(wide[:, :200], Y).predict(wide[:, :200])
    assert np.allclose(found.predict(wide), expected)
    assert np.array_equal(found.coefficients[200:], np.zeros((2, 3)))


def test_one_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="needs two"):
        RidgeConfig().build()(X, Y, np.zeros(80, int))
