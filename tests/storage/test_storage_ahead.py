import threading
from collections.abc import Iterator

import pytest

from mien.storage.ahead import ahead


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(ahead(lambda number: number * 2, range(1000), num_threads=7)) == [number * 2 for number in range(1000)]


def test_calls_wait_together() -> None:
    together = threading.Barrier(4)  # opens only when four calls are in it at once
    assert sorted(ahead(lambda _: together.wait(timeout=30), range(8), num_threads=4)) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_no_more_than_a_window_is_taken_ahead_of_the_reader() -> None:
    taken = list[int]()

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = ahead(lambda number: number, items(), num_threads=5)
    for done in range(1, 51):
        next(results)
        assert len(taken) <= done + 5
    results.close()
    assert len(taken) < 100


def test_an_error_comes_at_its_turn() -> None:
    def call(number: int) -> int:
        if number == 3:
            raise ValueError("third")
        return number

    results = ahead(call, range(6), num_threads=6)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="third"):
        next(results)


def test_no_thread_stays_behind() -> None:
    results = ahead(lambda number: number, range(100), num_threads=3)
    next(results)
    results.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")] == []
