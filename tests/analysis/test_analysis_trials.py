"""Tables come back as they were, and the winner is the one that wins again."""

import io
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from mien.analysis.trials import Trial, best_yaml, measured, pareto, rank, require_some, student, table, trials_of
from mien.config import parse_yaml
from mien.datasets.tables import parquet_bytes
from mien.errors import TrainingError
from mien.training.job import TrainConfig

CURVE = {"kind": "anchors", "initial": 0.3, "warmup": 0.2, "final": 0.1, "warmup_steps": 5}


def trial(number: int, value: float | None = None, **others: object) -> Trial:
    history = () if value is None else ((1, {"error": 9.0}), (2, {"error": value, "rank": 1.0}))
    return Trial(**{"number": number, "state": "done", "values": {"rate": 0.1 * number}, "history": history} | others)


TRIALS = [
    trial(2, 0.5, values={"rate": 0.1, "weight": CURVE, "kind": "adam", "sizes": [1, 2], "mixed": 1, "flag": True}),
    trial(0, 0.4, values={"rate": 0.2, "kind": "adamw", "mixed": "x", "sizes": [3]}, repeat_of=2, seed=7, seconds=2.5),
    trial(1, state="failed", reason="out of memory"),
]


def test_a_table_in_parquet_gives_the_trials_back() -> None:
    rows = pq.read_table(io.BytesIO(parquet_bytes(table(TRIALS))))
    assert rows["number"].to_pylist() == [0, 1, 2]
    assert rows["step"].to_pylist() == [2, 0, 2]
    assert rows["config/weight.final"].to_pylist() == [None, None, 0.1]
    assert rows["metric/error"].to_pylist() == [0.4, None, 0.5]
    assert rows["config/sizes"].to_pylist() == ["[3]", None, "[1, 2]"]
    assert rows["config/mixed"].to_pylist() == ['"x"', None, "1"]
    assert rows["config/flag"].to_pylist() == [None, None, True]
    assert trials_of(rows) == [TRIALS[1], TRIALS[2], TRIALS[0]], "to the last digit"


def test_a_sweep_without_a_trial_has_an_empty_table() -> None:
    assert table([]).num_rows == 0
    assert trials_of(table([])) == []


def test_what_a_trial_reported_is_looked_up_by_step() -> None:
    history = ((10, {"a": 1.0}), (20, {"b": 2.0}), (30, {"a": math.nan}), (40, {"a": 3.0}))
    one = trial(0, history=history)
    assert one.curve("a") == ([10, 40], [1.0, 3.0])
    assert [one.at("a", step) for step in (10, 39, 40)] == [1, 1, 3]
    assert math.isnan(one.at("a", 9))
    assert one.metrics == {"a": 3.0, "b": 2.0}
    assert one.step == 40


def test_an_interval_is_students() -> None:
    values = [0.3, 0.5, 0.1, 0.4]
    found = student(values, 0.9)
    reference = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.value, found.low, found.high) == pytest.approx((0.325, reference.low, reference.high))
    assert math.isnan(student([1.0]).low)


def test_the_luckiest_trial_does_not_win_against_repeats() -> None:
    lucky = [trial(0, 0.1), *(trial(10 + n, 0.5 + n, repeat_of=0) for n in range(3))]
    steady = [trial(1, 0.3), *(trial(20 + n, 0.31 + 0.01 * n, repeat_of=1) for n in range(3))]
    never_repeated = trial(2, 0.01)
    first, second = rank([*lucky, *steady, never_repeated], "error", "lowest")
    assert (first.number, first.num_runs, second.number) == (1, 3, 0)
    assert first.estimate.value == pytest.approx(0.32)
    assert first.estimate.low > 0.29
    assert rank([*lucky, *steady], "error", "highest")[0].number == 0


def test_repeats_that_failed_are_counted_and_a_config_of_which_none_is_left_cannot_win() -> None:
    runs = [trial(5, 0.2, repeat_of=0), trial(6, state="failed", repeat_of=0), trial(7, state="failed", repeat_of=1)]
    (only,) = rank([trial(0, 0.3), trial(1, 0.2), *runs], "error", "lowest")
    assert (only.number, only.num_runs, only.num_failed) == (0, 1, 1)


def test_without_repeats_those_that_ran_to_their_end_are_compared() -> None:
    trials = [trial(0, 0.1, state="stopped"), trial(1, 0.3), trial(2, 0.2), trial(3, 0.2), trial(4, math.nan)]
    assert [one.number for one in rank(trials, "error", "lowest")] == [2, 3, 1]
    assert [one.number for one in rank(trials[:1], "error", "lowest")] == [0], "better than none"
    assert rank([], "error", "lowest") == []


def test_a_pareto_front_is_what_pairwise_comparison_leaves() -> None:
    points = np.random.default_rng(0).integers(0, 12, (60, 3)) / 2
    trials = [trial(n, history=((1, dict(zip("abc", map(float, p), strict=True))),)) for n, p in enumerate(points)]
    trials.append(trial(99, history=((1, {"a": 0.0}),)))
    front = pareto(trials, {"a": "lowest", "b": "highest", "c": "lowest"})
    signed = points * [1, -1, 1]

    def surpasses(one: np.ndarray, other: np.ndarray) -> bool:
        return all(x <= y for x, y in zip(one, other, strict=True)) and tuple(one) != tuple(other)

    expected = [n for n, own in enumerate(signed) if not any(surpasses(other, own) for other in signed)]
    assert [one.number for one in front] == expected
    assert 1 < len(front) < 60
    assert pareto([], {"a": "lowest", "b": "lowest"}) == []


def test_failed_trials_and_those_without_a_number_are_not_measured() -> None:
    trials = [trial(0, 0.1), trial(1, 0.2, state="failed"), trial(2, math.inf), trial(3)]
    assert [one.number for one in measured(trials, "error", "rank")] == [0]


def test_a_sweep_in_which_all_fail_says_the_first_reason_and_how_often() -> None:
    reasons = ["out of memory", "no such file", "out of memory"]
    failed = [trial(n, state="failed", reason=reason) for n, reason in enumerate(reasons)]
    with pytest.raises(TrainingError, match="all 3 trials failed; the first reason, of 2 of them: out of memory"):
        require_some(failed, ["error"])
    require_some([*failed, trial(3, 0.1)], ["error", "rank"])


def test_a_metric_that_was_never_reported_is_told_with_those_that_were() -> None:
    with pytest.raises(TrainingError, match="metrics: no trial reported eror; there are error, rank"):
        require_some([trial(0, 0.1), trial(1, state="failed")], ["error", "eror"])


def test_the_best_config_can_be_trained_whatever_the_comment_says() -> None:
    config = TrainConfig(dataset="dataset", output="run")
    text = best_yaml(config, ["trial 3 of gs://bucket/sweep", "two lines\nseed: 5"])
    assert text.startswith("# trial 3 of gs://bucket/sweep\n# two lines\n# seed: 5\n")
    assert TrainConfig.parse(parse_yaml(text.encode(), "best.yaml"), "best.yaml") == config
