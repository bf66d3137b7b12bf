import itertools
from typing import Any

import pytest

from mien.datasets.effort import Busy, Effort, Stopwatch, add_to, bytes_in_words, in_words


def record(run_id: str, started_at: float, finished_at: float, hosts: tuple[str, ...] = ("a",)) -> dict[str, Any]:
    effort = {"busy": {"cut": [2.0, 1.5, 0.0], "features": [4.0, 1.0, 2.0]}, "hosts": list(hosts)}
    times = {"run_id": run_id, "started_at": started_at, "finished_at": finished_at}
    return {"files": [{"name": "data/x", "size_bytes": 100}], "samples": [], "failures": [], "effort": effort, **times}


def untimed() -> dict[str, Any]:
    return {"files": [{"name": "data/x", "size_bytes": 50}], "samples": [], "failures": [], "finished_at": 5.0}


def test_busy_time_is_the_sum_over_the_records() -> None:
    effort = Effort.of([record("r", 0, 1), record("r", 0, 2, ("b",)), record("s", 5, 6, ("a", "b"))])
    assert effort.busy == {"cut": Busy(6.0, 4.5, 0.0), "features": Busy(12.0, 3.0, 6.0)}
    assert (effort.num_runs, effort.num_hosts, effort.num_shards, effort.num_bytes) == (2, 2, 3, 300)


@pytest.mark.parametrize(
    ("spans", "wall_s"),
    [
        ([("r", 100, 110)], 10),
        ([("r", 100, 110), ("r", 100, 130)], 30),
        ([("r", 100, 110), ("s", 1000, 1005)], 15),
        ([("s", 1000, 1005), ("r", 100, 110)], 15),
        ([("r", 100, 110), ("s", 105, 120)], 20),
        ([("r", 100, 130), ("s", 105, 120)], 30),
        ([("r", 100, 90)], 0),
    ],
    ids=["one", "last commit", "gap", "gap, other order", "overlap", "within", "clock set back"],
)
def test_wall_clock_leaves_out_the_gaps_and_counts_overlaps_once(
    spans: list[tuple[str, float, float]], wall_s: float
) -> None:
    assert Effort.of(record(*span) for span in spans).wall_s == wall_s


def test_clocks_that_jump_back_and_forth_add_up_to_no_less_than_nothing() -> None:
    now = 1.8e9
    for jumps_s in itertools.permutations([0.0, 50.0, -1e5, 1e9, -now], 4):
        start, *ends = (now + jump_s for jump_s in jumps_s)
        effort = Effort.of([*(record("r", start, end) for end in ends), *(record("s", end, start) for end in ends)])
        assert 0 <= effort.wall_s <= max(start, *ends) - min(start, *ends)
        assert effort.num_runs == 2
        assert sorted(effort.days) == list(effort.days)


def test_records_without_times_are_counted_and_their_bytes_too() -> None:
    effort = Effort.of([untimed(), record("r", 0, 10), untimed()])
    assert (effort.num_untimed, effort.num_shards, effort.num_bytes, effort.wall_s) == (2, 3, 200, 10)
    assert Effort.of([untimed()]).days == ("", "")


def test_days_are_those_of_the_first_start_and_the_last_commit() -> None:
    day = 86400
    assert Effort.of([record("r", 3 * day, 3 * day + 1), record("s", 0, day)]).days == ("1970-01-01", "1970-01-04")


def test_a_total_grows_in_place_and_survives_the_way_through_a_record() -> None:
    total = dict[str, Busy]()
    for _ in range(2):
        add_to(total, {"cut": Busy(1.23456, 0.5, 0.25).plain()})
    assert total == {"cut": Busy(2.47, 1.0, 0.5)}


def test_a_stopwatch_counts_a_busy_core_and_the_gpus_while_they_are_held() -> None:
    watch = Stopwatch(num_gpus=0.5)
    before = watch.read()
    sum(range(1_000_000))
    after = watch.read()
    assert after.core_s > before.core_s
    assert after.gpu_s == after.wall_s / 2


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (8.451, "8.45 s"), (99.4, "99.4 s"), (100, "1.67 min"), (7200, "2.0 h")]
)
def test_time_is_said_in_the_unit_that_suits_it(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("num_bytes", "words"), [(512, "512 B"), (24_640_008, "24.6 MB"), (999e9, "999 GB"), (4.5e15, "4,500.0 TB")]
)
def test_sizes_are_said_in_the_unit_that_suits_them(num_bytes: float, words: str) -> None:
    assert bytes_in_words(num_bytes) == words
