"""Scales are those of scikit-learn, can be undone, and are each clip's own where that is asked for."""

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from mien.datasets.normalise import KINDS, Kind, NormaliseConfig, fit, normalise

CLIP = np.repeat([0, 1], [30, 20])
VALUES = np.random.default_rng(0).normal(3, [1.0, 20.0, 0.1], (50, 3)) + 5 * CLIP[:, None]
REFERENCES = {"standardise": StandardScaler, "min_max": MinMaxScaler}


@pytest.mark.parametrize("kind", ["standardise", "min_max"])
def test_scales_are_those_of_scikit_learn(kind: Kind) -> None:
    reference = REFERENCES[kind]()
    assert fit(VALUES, kind).apply(VALUES) == pytest.approx(reference.fit_transform(VALUES))


@pytest.mark.parametrize("kind", KINDS)
def test_every_scale_can_be_undone(kind: Kind) -> None:
    scale, others = fit(VALUES, kind), VALUES[:7] * 3 - 1
    assert scale.undo(scale.apply(others)) == pytest.approx(others)


@pytest.mark.parametrize("kind", ["standardise", "min_max"])
def test_each_clip_has_its_own_scale_where_that_is_asked_for(kind: Kind) -> None:
    scaled = normalise(VALUES, CLIP, NormaliseConfig(kind=kind, scope="clip"))
    for clip in (0, 1):
        assert scaled[clip == CLIP] == pytest.approx(REFERENCES[kind]().fit_transform(VALUES[clip == CLIP]))
    together = normalise(VALUES, CLIP, NormaliseConfig(kind=kind))
    assert together == pytest.approx(REFERENCES[kind]().fit_transform(VALUES))
    assert abs(together - scaled).max() > 0.5


def test_vectors_stay_as_they_are_by_default() -> None:
    assert np.array_equal(normalise(VALUES, CLIP, NormaliseConfig()), VALUES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_dimension_that_stands_still_is_not_blown_up(kind: Kind) -> None:
    still = VALUES.copy()
    still[:, 1] = 0.1
    assert abs(fit(still, kind).apply(still)[:, 1]).max() <= 0.1


@pytest.mark.parametrize("values", [np.empty((0, 3)), np.ones(3), np.full((2, 3), np.nan)])
def test_what_has_no_scale_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a scale needs finite vectors"):
        fit(values, "min_max")
