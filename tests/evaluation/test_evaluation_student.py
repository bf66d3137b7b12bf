"""Against scipy's."""

import math

import numpy as np
import pytest
import scipy.stats

from mien.evaluation.student import paired_interval


def test_an_interval_is_that_of_student() -> None:
    values = np.random.default_rng(2).normal(1, 2, 9)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = paired_interval(values, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_fewer_than_two_have_no_interval() -> None:
    one = paired_interval(np.array([3.0]), 0.95)
    assert one.value == 3
    assert math.isnan(one.low)
    assert math.isnan(paired_interval(np.array([]), 0.95).value)
