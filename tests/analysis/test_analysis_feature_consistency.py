"""Counts and intervals against scipy's, and verdicts that can say no."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from mien.analysis.feature_consistency import Comparison, ConsistencyConfig, Table, compare, markdown

CONFIG = ConsistencyConfig()
LAYERS, CONDITIONS = ("first", "second", "third"), ("clean_t0", "noisy_t900")


def table(shift: Any = 0.0, num: int = 6, seed: int = 0, spread: float = 1.0) -> Table:
    """Images differ much from each other; the second model by `shift` [layers, conditions], and a little noise."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 5, (num, 1, 1, 1)) + np.zeros((num, 3, 2, 2))
    values = image + rng.normal(0, spread, image.shape)
    values[..., 1] += np.broadcast_to(shift, (3, 2))
    return Table("sparsity", LAYERS, CONDITIONS, values)


def check(found: Comparison, values: np.ndarray, level: float) -> None:
    """One comparison against scipy; values [images, parts, 2]."""
    means = values.mean(axis=1)
    interval = scipy.stats.ttest_rel(means[:, 1], means[:, 0]).confidence_interval(level)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))
    assert found.difference.value == pytest.approx(float((means[:, 1] - means[:, 0]).mean()))
    assert (found.baseline, found.curriculum) == pytest.approx(tuple(means.mean(axis=0)))
    signs = np.sign(values[..., 1] - values[..., 0])
    assert (found.higher, found.lower, found.equal) == tuple(int((signs == sign).sum()) for sign in (1, -1, 0))
    assert found.num == signs.size
    differences = means[:, 1] - means[:, 0]
    assert found.effect == pytest.approx(differences.mean() / differences.std(ddof=1))


def test_every_part_is_a_paired_comparison_over_images() -> None:
    given = table([[0.5, 1], [0, -1], [2, 0]])
    given.values[0, 0, 0, 1] = given.values[0, 0, 0, 0]
    found = compare(given, CONFIG)
    check(found.overall, given.values.reshape(6, 6, 2), 0.95)
    assert found.overall.equal == 1
    for place, one in enumerate(found.by_condition):
        assert (one.layer, one.condition) == ("", CONDITIONS[place])
        check(one, given.values[:, :, place], 1 - 0.05 / 2)
    for place, one in enumerate(found.by_layer):
        assert (one.layer, one.condition) == (LAYERS[place], "")
        check(one, given.values[:, place], 1 - 0.05 / 3)
    for place, one in enumerate(found.cells):
        assert (one.layer, one.condition) == (LAYERS[place // 2], CONDITIONS[place % 2])
        check(one, given.values[:, place // 2, place % 2][:, None], 1 - 0.05 / 6)


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [
        (4.0, "higher"),
        (-4.0, "lower"),
        ([[4, -4], [4, -4], [4, -4]], "mixed"),
        ([[4, 0], [4, 0], [4, 0]], "higher"),
        (0.0, "not distinguishable"),
    ],
)
def test_the_verdict_is_what_the_numbers_say(shift: Any, verdict: str) -> None:
    assert compare(table(shift), CONFIG).verdict == verdict


def test_swapped_models_are_told_apart_the_other_way() -> None:
    given = table(4.0)
    swapped = compare(given._replace(values=given.values[..., ::-1]), CONFIG)
    found = compare(given, CONFIG)
    assert (found.verdict, swapped.verdict) == ("higher", "lower")
    assert (found.overall.higher, found.overall.lower) == (swapped.overall.lower, swapped.overall.higher)
    assert found.overall.effect == -swapped.overall.effect


def test_one_model_and_itself_cannot_be_told_apart() -> None:
    given = table()
    given.values[..., 1] = given.values[..., 0]
    found = compare(given, CONFIG)
    assert found.verdict == "not distinguishable"
    assert (found.overall.higher, found.overall.lower, found.overall.equal) == (0, 0, 36)
    assert math.isnan(found.overall.effect)


def test_models_of_one_kind_are_told_apart_as_often_as_the_level_says() -> None:
    verdicts = [compare(table(num=5, seed=seed), CONFIG) for seed in range(400)]
    overall = np.mean([one.overall.verdict != "not distinguishable" for one in verdicts])
    anywhere = np.mean([any(cell.verdict != "not distinguishable" for cell in one.cells) for one in verdicts])
    assert scipy.stats.binomtest(round(overall * 400), 400, 0.05).pvalue > 0.01
    assert anywhere < 0.08, "six intervals hold together, not one by one"


def test_layers_of_one_image_are_no_independent_images() -> None:
    """Differences that belong to the image alone: 6 layers of 5 images are 5 pairs, not 30."""
    rng, found = np.random.default_rng(1), 0
    for _ in range(200):
        values = np.zeros((5, 3, 2, 2))
        values[..., 1] = rng.normal(size=(5, 1, 1))
        found += compare(Table("sparsity", LAYERS, CONDITIONS, values), CONFIG).overall.verdict != "not distinguishable"
    assert found < 25


def test_one_image_has_no_interval_and_no_verdict() -> None:
    found = compare(table(4.0, num=1), CONFIG)
    assert found.verdict == "not distinguishable"
    assert found.overall.higher == 6
    assert math.isnan(found.overall.difference.low)
    assert found.sentence().endswith("(no interval); one image has no interval")


def test_what_is_not_defined_is_left_out_and_not_counted() -> None:
    given = table(4.0)
    given.values[2] = math.nan
    given.values[3, 0, 0, 1] = math.nan
    found = compare(given, CONFIG)
    assert found.overall.num == 36 - 6 - 1
    assert found.verdict == "higher"
    nothing = compare(given._replace(values=np.full((3, 3, 2, 2), math.nan)), CONFIG)
    assert (nothing.verdict, nothing.overall.num) == ("not distinguishable", 0)


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(Table("sparsity", (), CONDITIONS, np.zeros((5, 0, 2, 2))), CONFIG)


def test_words_and_tables_give_the_counts() -> None:
    found = compare(table(4.0), CONFIG)
    said = found.sentence()
    assert said.startswith("sparsity is higher in the curriculum: higher in 36, lower in 0, equal in 0 of 36 pairs")
    lines = list(markdown([found]))
    assert sum("36 / 0 / 0" in line for line in lines) == 1
    assert sum("18 / 0 / 0" in line for line in lines) == 2
    assert sum("12 / 0 / 0" in line for line in lines) == 3
    assert "does not tell the two models apart" in compare(table(), CONFIG).sentence()
