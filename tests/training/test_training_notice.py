"""When a worker saves, and when it stops, because its machine goes or the run changes its size."""

import threading

from mien.training.notice import MARGIN_S, Holding, Leaving, NoNotices


def test_nobody_takes_such_a_worker_away() -> None:
    assert (NoNotices().wants_hold(), NoNotices().deadline_s()) == (False, None)


def test_a_notice_saves_at_once_and_again_shortly_before_the_deadline() -> None:
    leaving = Leaving()
    assert leaving.look(None, 0, 0.5) == (False, False)
    assert leaving.look(100, 70, 0.5) == (True, False)
    assert leaving.look(100, 71, 0.5) == (False, False)
    assert leaving.look(100, 100 - MARGIN_S - 0.1, 0.5) == (False, False)
    assert leaving.look(100, 100 - MARGIN_S, 0.5) == (True, True)


def test_a_slow_save_begins_earlier() -> None:
    leaving = Leaving()
    leaving.look(100, 60, 10)
    assert leaving.look(100, 79.9, 10) == (False, False)
    assert leaving.look(100, 80, 10) == (True, True)


def test_a_notice_that_comes_late_saves_and_stops_together() -> None:
    assert Leaving().look(100, 99, 0.1) == (True, True)


def test_a_machine_that_stays_after_all_stops_the_run_once() -> None:
    leaving = Leaving()
    assert leaving.look(100, 99, 0.1) == (True, True)
    assert [leaving.look(100, now_s, 0.1) for now_s in (101, 160, 900)] == [(False, False)] * 3


def test_the_next_notice_is_a_new_one() -> None:
    leaving = Leaving()
    leaving.look(100, 99, 0.1)
    leaving.look(None, 101, 0.1)
    assert leaving.look(500, 300, 0.1) == (True, False)
    assert leaving.look(500, 499, 0.1) == (True, True)


def test_who_asks_to_hold_learns_that_it_is_held() -> None:
    holding = Holding()
    assert not holding.is_asked()
    holding.ask()
    assert holding.is_asked()
    assert not holding.is_held(0)
    thread = threading.Thread(target=holding.hold, args=(0.2,))
    thread.start()
    assert holding.is_held(10)
    thread.join()
    assert (holding.is_asked(), holding.is_held(0)) == (False, False), "whoever is not ended goes on"
