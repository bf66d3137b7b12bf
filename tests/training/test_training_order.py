"""The stream of windows: every one once an epoch, few shards at a time, and a place always means the same window."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from mien.training.order import Order, Window

LENGTH = 4
FRAMES = np.array([9, 3, 0, 4, 17, 8, 1, 0, 12, 5, 30, 6])
SHARDS = np.array([2, 0, 0, 1, 1, 2, 3, 3, 4, 0, 4, 5])


def order(seed: int | None = 1, together: int = 2) -> Order:
    return Order(FRAMES, SHARDS, LENGTH, seed=seed, shards_together=together)


def windows(made: Order, epoch: int = 0) -> list[Window]:
    return [made.at(epoch * len(made) + place) for place in range(len(made))]


def test_every_window_comes_once_an_epoch() -> None:
    made = order()
    expected = Counter({int(sample): max(1, int(FRAMES[sample]) // LENGTH) for sample in np.flatnonzero(FRAMES)})
    for epoch in range(3):
        found = windows(made, epoch)
        assert Counter(window.sample for window in found) == expected
        slots = Counter((window.sample, window.start // LENGTH) for window in windows(order(None), epoch))
        assert max(slots.values()) == 1


def test_windows_of_a_sample_lie_within_it_and_each_in_its_slot() -> None:
    made = order()
    for epoch in range(8):
        starts: dict[int, list[int]] = {}
        for window in windows(made, epoch):
            assert window.num_frames == min(LENGTH, FRAMES[window.sample])
            assert window.start >= 0
            assert window.start + window.num_frames <= FRAMES[window.sample]
            starts.setdefault(window.sample, []).append(window.start)
        for sample, found in starts.items():
            slack = max(0, int(FRAMES[sample]) - len(found) * LENGTH)
            for slot, start in enumerate(sorted(found)):
                assert slot * LENGTH <= start <= slot * LENGTH + slack


def test_what_is_left_over_of_a_sample_is_seen_in_another_epoch() -> None:
    made = order()
    starts = {window.start for epoch in range(15) for window in windows(made, epoch) if window.sample == 0}
    assert starts == {0, 1, 4, 5}


def test_samples_that_take_no_part_never_come() -> None:
    assert not {2, 7} & {window.sample for epoch in range(5) for window in windows(order(), epoch)}


def test_a_place_means_one_window_whoever_asks_and_in_whatever_turn() -> None:
    one = windows(order(), 3)
    made = order()
    back = [made.at(3 * len(made) + place) for place in reversed(range(len(made)))]
    assert one == back[::-1]
    assert [window.place for window in one] == [*range(3 * len(made), 4 * len(made))]


@pytest.mark.parametrize("seed", [None, 1])
def test_many_places_at_once_are_those_one_by_one(seed: int | None) -> None:
    made = order(seed)
    places = [*range(len(made) - 5, 2 * len(made) + 5), 3, 3, 10 * len(made)]
    assert order(seed).windows(places) == [made.at(place) for place in places]
    assert made.windows([]) == []


def test_seeds_and_epochs_differ() -> None:
    found = [[w.sample for w in windows(order(seed), epoch)] for seed in (1, 2) for epoch in (0, 1)]
    assert all(one != other for number, one in enumerate(found) for other in found[:number])


def test_without_a_seed_it_is_the_order_of_the_shards_in_every_epoch() -> None:
    made = order(None)
    found = windows(made)
    assert [SHARDS[window.sample] for window in found] == sorted(SHARDS[window.sample] for window in found)
    assert [(w.sample, w.start) for w in windows(made, 5)] == [(w.sample, w.start) for w in found]
    assert all(window.start % LENGTH == 0 for window in found)


@pytest.mark.parametrize("together", [1, 2, 3, 100])
def test_a_few_shards_are_read_at_a_time(together: int) -> None:
    made = order(together=together)
    for epoch in range(4):
        turns = [int(SHARDS[window.sample]) for window in windows(made, epoch)]
        last = {shard: place for place, shard in enumerate(turns)}
        first = {shard: turns.index(shard) for shard in last}
        open_at = [sum(first[s] <= place <= last[s] for s in last) for place in range(len(turns))]
        assert max(open_at) <= together
        assert together == 1 or max(open_at) > 1


def test_shards_come_in_another_turn_in_every_epoch() -> None:
    made = order(together=1)
    turns = {tuple(dict.fromkeys(int(SHARDS[w.sample]) for w in windows(made, epoch))) for epoch in range(10)}
    assert len(turns) > 5


def test_nothing_to_read_is_refused() -> None:
    with pytest.raises(ValueError, match="no sample has a frame"):
        Order(np.zeros(3, np.int64), np.zeros(3, np.int64), 4, seed=0)


def test_threads_of_several_epochs_do_not_disturb_each_other() -> None:
    made, places = order(), [*range(30)] * 4
    expected = [made.at(place * 7) for place in places]
    fresh = order()
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(lambda place: fresh.at(place * 7), places)] == expected


def test_ten_thousand_shards_are_held_in_a_few_arrays() -> None:
    frames, shards = np.full(100_000, 40), np.repeat(np.arange(10_000), 10)
    made = Order(frames, shards, 8, seed=0)
    assert len(made) == 500_000
    found = [made.at(place) for place in range(0, 3_000_000, 100_003)]
    assert len({window.sample for window in found}) > 20
    held = sum(part.nbytes for pair in made._orders.values() for part in pair)
    assert (len(made._orders), held) == (2, 2 * 160_000), "of two epochs, 16 bytes for each shard"
    some = [made.at(place) for place in range(4_000_000, 4_000_200)]
    assert len({int(shards[window.sample]) for window in some}) <= 8
    assert any(one.sample != other.sample for one, other in pairwise(some))
