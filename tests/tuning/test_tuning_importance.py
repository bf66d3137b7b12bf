"""A key that decides is found, and one that does not is not; too few trials are told so."""

import numpy as np
import pytest

from mien.analysis.trials import State, Trial
from mien.evaluation.bootstrap import NotMeasurable
from mien.tuning.importance import Importance, as_numbers, importance


def trials(num: int, seed: int = 0, state: State = "done") -> list[Trial]:
    """Error is 4 · (rate - 0.5)² + 0.3 · (kind is "b"), whatever `nothing` is."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(num):
        rate, nothing, kind = rng.random(), rng.random(), "ab"[rng.integers(2)]
        error = 4 * (rate - 0.5) ** 2 + 0.3 * (kind == "b")
        values = {"rate": rate, "nothing": nothing, "kind": kind, "same": 3}
        found.append(Trial(number, state, values, ((1, {"error": error}), (2 + number, {"error": error}))))
    return found


def test_keys_are_ordered_by_what_they_decide() -> None:
    found = importance(trials(100), "error")
    assert isinstance(found, Importance)
    assert found.keys == ("rate", "kind", "nothing"), "one that is the same in all trials is none"
    assert found.r_squared > 0.8
    assert found.mean[1] > 0.1
    assert abs(found.mean[2]) < 0.05
    assert found.note == ""
    again = importance(trials(100), "error")
    assert isinstance(again, Importance)
    assert np.array_equal(found.mean, again.mean)


def test_few_trials_are_told_and_fewer_say_nothing() -> None:
    found = importance(trials(12), "error")
    assert isinstance(found, Importance)
    assert "only 12 trials for 3 keys: the order may be chance" in found.note
    nothing = importance(trials(9), "error")
    assert isinstance(nothing, NotMeasurable)
    assert nothing.reason == "9 trials have error, and fewer than 10 say nothing"
    assert isinstance(importance([], "error"), NotMeasurable)


def test_what_no_key_predicts_is_told() -> None:
    rng = np.random.default_rng(1)
    noise = [Trial(n, "done", {"a": rng.random()}, ((1, {"error": rng.random()}),)) for n in range(30)]
    found = importance(noise, "error")
    assert isinstance(found, Importance)
    assert "the order means nothing" in found.note


def test_trials_that_were_stopped_are_compared_at_a_step_that_all_reached() -> None:
    found = importance(trials(40, state="stopped"), "error")
    assert isinstance(found, Importance)
    assert found.keys[0] == "rate"
    assert "compared at step 2, which all reached" in found.note


@pytest.mark.parametrize(("value", "reason"), [("error", "is the same in all 12"), ("same", "no key varied")])
def test_nothing_to_tell_is_a_reason(value: str, reason: str) -> None:
    history = [((1, {"error": 1.0 if value == "error" else float(n)}),) for n in range(12)]
    flat = [Trial(n, "done", {"rate": n if value == "error" else 1}, history[n]) for n in range(12)]
    found = importance(flat, "error")
    assert isinstance(found, NotMeasurable)
    assert reason in found.reason


def test_values_become_numbers() -> None:
    assert as_numbers([3, None, 0.5]).tolist() == [3, -0.5, 0.5]
    assert as_numbers(["b", None, "a", "b"]).tolist() == [1, -1, 0, 1]
