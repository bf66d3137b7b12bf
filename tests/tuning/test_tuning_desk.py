"""What trials leave: written once, read as one book, and the way of a trial through those it went on from."""

from pathlib import Path

import pytest

from mien.storage.local import LocalStore
from mien.tuning import desk
from mien.tuning.desk import Donor, Run, Told

FIRST = Run(0, 0, {"a": 1.0}, {"a": 0.5})
SECOND = Run(1, 0, {"a": 2.0}, {"a": 0.7})
MOVED = Run(1, 1, {"a": 3.0}, {"a": 0.6}, donor=Donor(0, 0, 4))


def told(*steps: int, ends: bool = False) -> list[Told]:
    return [Told(step, {"score": 10.0 - step}, float(step), ends and step == steps[-1]) for step in steps]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Two trials, of which the second went on from the first at step 4."""
    store = LocalStore(tmp_path)
    for run, reports in ((FIRST, told(2, 4, 6, 8, ends=True)), (SECOND, told(2, 4)), (MOVED, told(6, 8, ends=True))):
        assert desk.begin(store, run) == run
        desk.write_told(store, run, reports)
    return store


def test_a_run_is_begun_once(store: LocalStore) -> None:
    assert desk.begin(store, MOVED._replace(values={"a": 9.0})) == MOVED
    assert desk.newest(store, 1) == MOVED
    assert desk.newest(store, 7) is None
    assert desk.read_told(store, Run(7, 0, {}, {})) == []


def test_the_way_of_a_trial_leads_through_its_donor(store: LocalStore) -> None:
    way = desk.read_all(store).way(1)
    assert [stretch.run for stretch in way] == [FIRST, MOVED]
    assert [[one.step for one in stretch.told] for stretch in way] == [[2, 4], [6, 8]]


def test_trials_have_the_history_of_their_way_and_the_seconds_of_their_own(store: LocalStore) -> None:
    first, second = desk.read_all(store).trials(is_over=True)
    assert (first.state, first.seconds, first.values) == ("done", 8.0, {"a": 1.0})
    assert (second.state, second.seconds, second.values) == ("done", 12.0, {"a": 3.0})
    assert [step for step, _ in second.history] == [2, 4, 6, 8]


def test_who_did_not_end_was_stopped_when_the_sweep_is_over(store: LocalStore) -> None:
    desk.write_told(store, FIRST, told(2))
    states = [[trial.state for trial in desk.read_all(store).trials(is_over=is_over)] for is_over in (True, False)]
    assert states == [["stopped", "done"], ["running", "done"]]


def test_failures_are_told_and_forgiven(store: LocalStore) -> None:
    desk.fail(store, 0, "no disk")
    assert desk.failure(store, 0) == "no disk"
    assert [(trial.state, trial.reason) for trial in desk.read_all(store).trials(is_over=True)] == [
        ("failed", "no disk"),
        ("done", ""),
    ]
    assert desk.forgive(store) == 1
    assert desk.failure(store, 0) == ""
