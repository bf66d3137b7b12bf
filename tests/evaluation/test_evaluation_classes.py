"""Classes against loops and scipy: who gained, who lost, the rare and the unseen."""

import numpy as np
import pytest
import scipy.stats

from mien.errors import ConfigError
from mien.evaluation.alignment import AlignmentConfig, Rows, Scene, compare
from mien.evaluation.bootstrap import BootstrapConfig, Estimate, NotMeasurable
from mien.evaluation.classes import ClassesConfig, ClassReport, by_class

RNG = np.random.default_rng(0)
NAMES = [f"action {number}" for number in range(6)]
TEXT = RNG.normal(size=(6, 20))
ANSWER = np.repeat(np.arange(6), [40, 40, 40, 40, 6, 4])
ROWS = TEXT[ANSWER] + 2 * RNG.normal(size=(len(ANSWER), 20))
GOAL = np.where((ANSWER == 2)[:, None], -TEXT[2], TEXT[ANSWER])
AFTER = ROWS + np.where((ANSWER == 3)[:, None], 0, 1) * GOAL
"""All but class 3 move to their text, and class 2 away from it."""
GROUP = np.arange(len(ANSWER)) // 2
SCENE = Scene(TEXT, ANSWER, GROUP)
BOOTSTRAP = BootstrapConfig(num=300)


def rows(after: np.ndarray = AFTER, scene: Scene = SCENE) -> tuple[Rows, Rows]:
    found = compare(ROWS, {"bridge": after}, scene, AlignmentConfig(bootstrap=BOOTSTRAP, num_directions=4))
    return found[0].rows, found[1].rows


def report(**config: object) -> ClassReport:
    found = by_class(rows(), SCENE, NAMES, ClassesConfig.parse(config, "test"), BOOTSTRAP)
    assert isinstance(found, ClassReport)
    return found


def test_who_moved_away_got_worse_and_who_stayed_is_not_told() -> None:
    found = report()
    change = {one.name: one.change for one in found.classes}
    assert change["action 2"] == "worse"
    assert change["action 3"] == "not distinguishable"
    assert change["action 0"] == change["action 1"] == "better"
    assert [one.name for one in found.worse] == ["action 2"]
    assert found.classes[-1].name == "action 2"
    gains = [one.difference.value for one in found.classes]
    assert gains == sorted(gains, reverse=True)


def test_numbers_of_a_class_are_those_of_its_rows() -> None:
    before, after = rows()
    for one in report().classes:
        own = NAMES.index(one.name) == ANSWER
        assert one.num_rows == own.sum()
        assert (one.before, one.after) == pytest.approx((before.alignment[own].mean(), after.alignment[own].mean()))
        assert one.top_1_after == pytest.approx((after.nearest[own] == NAMES.index(one.name)).mean())
        pairs = (after.alignment - before.alignment)[own]
        images = [pairs[GROUP[own] == image].mean() for image in np.unique(GROUP[own])]
        interval = scipy.stats.ttest_1samp(images, 0).confidence_interval(1 - 0.05 / 6)
        assert (one.difference.low, one.difference.high) == pytest.approx((interval.low, interval.high))


def test_groups_are_the_rare_the_common_the_seen_and_the_unseen() -> None:
    found = {one.name: one for one in report(unseen=["action 2"]).groups}
    assert {name: one.num_classes for name, one in found.items()} == {
        "all": 6,
        "rare": 2,
        "common": 4,
        "seen": 5,
        "unseen": 1,
    }
    assert (found["rare"].num_rows, found["unseen"].num_rows) == (10, 40)
    before, after = rows()
    for name, chosen in (("rare", ANSWER > 3), ("unseen", ANSWER == 2), ("all", ANSWER >= 0)):
        one = found[name]
        assert isinstance(one.alignment, Estimate)
        assert isinstance(one.top_1, Estimate)
        assert one.alignment.value == pytest.approx((after.alignment - before.alignment)[chosen].mean())
        right = [(side.nearest == ANSWER)[chosen].mean() for side in (before, after)]
        assert one.top_1.value == pytest.approx(right[1] - right[0])
    assert isinstance(report().groups[-1].alignment, NotMeasurable)


def test_the_correlation_is_spearmans() -> None:
    found = report()
    gains = [(one.difference.value, one.top_1_after - one.top_1_before) for one in found.classes]
    assert isinstance(found.correlation, Estimate)
    assert found.correlation.value == pytest.approx(scipy.stats.spearmanr(gains).statistic)


def test_shuffled_labels_change_the_table() -> None:
    scene = Scene(TEXT, RNG.permutation(ANSWER), GROUP)
    found = by_class(rows(scene=scene), scene, NAMES, ClassesConfig(), BOOTSTRAP)
    assert isinstance(found, ClassReport)
    spread = [np.ptp([one.difference.value for one in each.classes]) for each in (found, report())]
    assert spread[0] < spread[1] / 2
    before = [{one.name: one.before for one in each.classes} for each in (found, report())]
    assert all(before[0][name] < before[1][name] for name in NAMES)


def test_without_labels_there_is_no_table_and_an_unknown_class_is_named() -> None:
    scene = Scene(TEXT, np.full(len(ANSWER), -1), GROUP)
    assert isinstance(by_class(rows(scene=scene), scene, NAMES, ClassesConfig(), BOOTSTRAP), NotMeasurable)
    with pytest.raises(ConfigError, match=r"classes\.unseen: 'walking' is no text"):
        report(unseen=["walking"])
