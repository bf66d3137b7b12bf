"""Groups that leave out whole clips, and intervals that hold the truth as often as they promise."""

import math

import numpy as np
import pytest

from mien.evaluation.jackknife import JackknifeConfig


def test_the_variance_of_a_difference_of_means_is_the_textbooks(rng: np.random.Generator) -> None:
    """Left out one by one, a mean's jackknife variance is s² / n exactly; the interval is then Welch's."""
    from scipy import stats

    x, y = rng.normal(size=12), rng.normal(1, 3, size=9)
    config = JackknifeConfig(num_groups=1000)
    groups = [config.groups(len(values), None, place) for place, values in enumerate((x, y))]
    left_out = [
        np.array([np.delete(x, rows).mean() - y.mean() for rows in groups[0]]),
        np.array([x.mean() - np.delete(y, rows).mean() for rows in groups[1]]),
    ]
    found = config.estimate(x.mean() - y.mean(), left_out)
    expected = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_groups_hold_each_row_once_and_clips_as_a_whole(rng: np.random.Generator) -> None:
    clip = rng.integers(100, 117, size=200)
    groups = JackknifeConfig(num_groups=5).groups(200, clip, 0)
    assert sorted(np.concatenate(groups)) == [*range(200)]
    assert sum(len(np.unique(clip[rows])) for rows in groups) == len(np.unique(clip))
    assert {len(np.unique(clip[rows])) for rows in groups} == {3, 4}


def test_there_are_no_more_groups_than_clips() -> None:
    assert len(JackknifeConfig().groups(30, np.arange(30) // 10, 0)) == 3


def test_the_seed_and_the_set_decide() -> None:
    def dealt(seed: int, stream: int) -> list[list[int]]:
        return [rows.tolist() for rows in JackknifeConfig(seed=seed).groups(100, None, stream)]

    assert dealt(0, 0) == dealt(0, 0)
    assert dealt(0, 0) != dealt(1, 0)
    assert dealt(0, 0) != dealt(0, 1)


@pytest.mark.parametrize(("num", "clip"), [(2, None), (9, np.zeros(9, int)), (9, np.array([0] * 8 + [1]))])
def test_where_nothing_can_be_left_out_there_is_no_interval(num: int, clip: np.ndarray | None) -> None:
    config = JackknifeConfig()
    groups = config.groups(num, clip, 0)
    assert [rows.tolist() for rows in groups] == [[*range(num)]]
    found = config.estimate(1.5, [np.empty(0), np.ones(4)])
    assert found.value == 1.5
    assert math.isnan(found.low)


def test_what_never_changes_has_an_interval_of_no_length() -> None:
    found = JackknifeConfig().estimate(2.0, [np.full(4, 2.0), np.full(4, 2.0)])
    assert (found.low, found.high) == (2.0, 2.0)


def test_a_clip_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="clip: has 3 numbers for 4 images"):
        JackknifeConfig().groups(4, np.arange(3), 0)
