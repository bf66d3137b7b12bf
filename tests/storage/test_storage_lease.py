import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from buckets import BUCKET
from mien.errors import AlreadyExists, RefusedError, StorageError, Unavailable
from mien.log import logger
from mien.storage import lease
from mien.storage.commit import COMPLETE
from mien.storage.emulator import Emulator
from mien.storage.lease import BEAT_EVERY_S, NAME, STALE_AFTER_S, Lease, held, new_lease, release, renew, take
from mien.storage.local import LocalStore
from mien.storage.uri import open_store

NOW = 1_800_000_000.0
PATIENCE_S = 20.0


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "dataset")


def elsewhere(now: float = NOW) -> Lease:
    """A new lease of a run on another machine."""
    return new_lease(now)._replace(host="node-7", machine="another boot", pid=4321)


def names(store: LocalStore) -> list[str]:
    return [entry.name for entry in store.list()]


def test_the_first_run_takes_the_lease_and_leaves_nothing_behind(store: LocalStore) -> None:
    mine = new_lease(NOW)
    take(store, mine)
    assert lease.read(store) == mine
    assert (mine.pid, mine.host, mine.started_at) == (os.getpid(), os.uname().nodename, NOW)
    release(store, mine)
    assert names(store) == []


def test_a_second_run_is_told_who_is_at_work_since_when_and_what_to_do(store: LocalStore) -> None:
    take(store, elsewhere())
    with pytest.raises(RefusedError) as refused:
        take(store, new_lease(NOW + STALE_AFTER_S - 1))
    message = str(refused.value)
    assert "\n" not in message
    for part in (store.uri, "node-7 (pid 4321) since 2027-01-15 08:00:00 UTC", "59 s ago", "wait", "--take-over"):
        assert part in message
    assert f"`mien status {store.uri}`" in message
    assert refused.value.exit_code == 5
    with pytest.raises(RefusedError, match="watch it with `mien other`, or use"):
        take(store, new_lease(NOW), watch="mien other")


@pytest.mark.parametrize("age_s", [STALE_AFTER_S, -STALE_AFTER_S], ids=["died", "clock jumped back"])
def test_a_lease_that_is_not_renewed_is_taken_over_and_that_is_logged(
    store: LocalStore, caplog: pytest.LogCaptureFixture, age_s: float
) -> None:
    take(store, elsewhere(NOW - age_s))
    mine = new_lease(NOW)
    take(store, mine)
    assert lease.read(store) == mine
    assert names(store) == [NAME]
    assert "taken over from the run on node-7" in caplog.text


def test_a_renewed_lease_is_not_stale(store: LocalStore) -> None:
    other = elsewhere()
    take(store, other)
    renew(store, other, NOW + BEAT_EVERY_S * 10)
    with pytest.raises(RefusedError, match="since 2027-01-15 08:00:00"):
        take(store, new_lease(NOW + BEAT_EVERY_S * 10 + 1))


def test_a_live_run_is_taken_over_only_when_asked(store: LocalStore) -> None:
    first, second = elsewhere(), new_lease(NOW + 1)
    take(store, first)
    take(store, second, take_over=True)
    assert lease.read(store) == second


def test_who_was_taken_over_sees_it_at_the_next_beat_and_keeps_its_hands_off(store: LocalStore) -> None:
    first, second = elsewhere(), new_lease(NOW + 1)
    take(store, first)
    take(store, second, take_over=True)
    with pytest.raises(RefusedError, match=r"\(pid \d+\) since .* took over, so this one stopped"):
        renew(store, first, NOW + 2)
    release(store, first)
    assert lease.read(store) == second


def test_who_stood_still_until_another_had_finished_stops_and_puts_no_lease_back(store: LocalStore) -> None:
    first, second = elsewhere(), new_lease(NOW + 1)
    take(store, first)
    take(store, second, take_over=True)
    store.put_new(COMPLETE, b"{}")
    release(store, second)
    with pytest.raises(RefusedError, match="another run took over and has finished it, so this one stopped"):
        renew(store, first, NOW + 2)
    assert names(store) == [COMPLETE]


def test_who_stood_still_until_another_had_given_up_goes_on(store: LocalStore) -> None:
    first, second = elsewhere(), new_lease(NOW + 1)
    take(store, first)
    take(store, second, take_over=True)
    release(store, second)
    renew(store, first, NOW + 2)
    assert lease.read(store) == first._replace(beat_at=NOW + 2)


@pytest.mark.parametrize("beat_at", [math.nan, math.inf, -math.inf, 1e300, -1e300, 0.0])
def test_a_clock_that_says_anything_holds_nobody_off_and_can_be_told(
    store: LocalStore, caplog: pytest.LogCaptureFixture, beat_at: float
) -> None:
    store.put_new(NAME, elsewhere()._replace(started_at=beat_at, beat_at=beat_at).to_bytes())
    mine = new_lease(NOW)
    take(store, mine)
    assert lease.read(store) == mine
    assert "taken over from the run on node-7" in caplog.text


def test_a_run_whose_clock_jumps_keeps_its_lease_and_beats_with_what_the_clock_says(store: LocalStore) -> None:
    jumps = [NOW, NOW + 1e6, NOW - 1e6, 0.0, NOW + 1e9]
    beaten = threading.Event()
    with held(store, clock=clock_after(jumps, beaten), every_s=0.001) as mine:
        assert beaten.wait(PATIENCE_S)
        standing = lease.read(store)
        assert standing is not None
        assert (standing.run_id, standing.beat_at) == (mine.run_id, jumps[-1])
    assert names(store) == []


def test_a_killed_run_of_this_machine_holds_nobody_off(store: LocalStore) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        killed = new_lease(NOW)._replace(pid=process.pid, born=lease._born(process.pid))
        assert killed.is_live(NOW)
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not killed.is_live(NOW), "ended, but not reaped yet"
    take(store, killed)
    take(store, new_lease(NOW + 1))
    assert names(store) == [NAME]


def test_another_process_with_the_pid_of_a_dead_run_does_not_revive_it() -> None:
    mine = new_lease(NOW)
    assert mine.is_live(NOW)
    assert not mine._replace(born="1").is_live(NOW)
    assert mine._replace(born="1", machine="another boot").is_live(NOW), "only its own machine knows its processes"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"run_id": "x"}', "\0", '{"pid": 1e999}'])
def test_a_damaged_lease_holds_nobody_off(store: LocalStore, text: str) -> None:
    store.put_new(NAME, text.encode())
    mine = new_lease(NOW)
    take(store, mine)
    assert lease.read(store) == mine


@pytest.mark.parametrize("standing", [None, elsewhere(NOW - 2 * STALE_AFTER_S)], ids=["free", "stale"])
def test_of_eight_that_start_at_once_one_wins(store: LocalStore, standing: Lease | None) -> None:
    if standing:
        take(store, standing)
    start = threading.Barrier(8)

    def try_it(mine: Lease) -> bool:
        start.wait()
        try:
            take(store, mine)
        except RefusedError:
            return False
        return True

    runs = [new_lease(NOW) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(try_it, runs))
    assert won.count(True) == 1
    assert lease.read(store) == runs[won.index(True)]
    assert names(store) == [NAME], "claims are gone"


def test_in_a_bucket_it_is_the_same(emulator: Emulator) -> None:
    store = open_store(f"gs://{BUCKET}/lease")
    assert lease.read(store) is None
    start = threading.Barrier(8)

    def try_it(mine: Lease) -> bool:
        start.wait()
        try:
            take(store, mine)
        except RefusedError:
            return False
        return True

    for now in (NOW, NOW + 2 * STALE_AFTER_S):  # free, then stale
        runs = [elsewhere(now) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(try_it, runs))
        assert won.count(True) == 1
        assert lease.read(store) == runs[won.index(True)]
        assert [entry.name for entry in store.list()] == [NAME]
    release(store, runs[won.index(True)])
    assert list(store.list()) == []


def test_a_run_that_died_while_it_took_over_holds_nobody_off(store: LocalStore) -> None:
    take(store, elsewhere(NOW - 3 * STALE_AFTER_S))
    with pytest.raises(KeyboardInterrupt):
        take(Dying(store.root), elsewhere(NOW - 1.5 * STALE_AFTER_S))
    assert len(names(store)) == 2
    assert all(map(lease.is_lease, names(store)))
    mine = new_lease(NOW)
    take(store, mine)
    assert lease.read(store) == mine
    assert names(store) == [NAME]


class Dying(LocalStore):
    """Ends before it replaces anything, and deletes nothing any more."""

    def replace(self, name: str, data: bytes) -> None:  # noqa: ARG002
        raise KeyboardInterrupt

    def delete(self, name: str) -> None:
        pass


def test_a_slow_take_over_does_not_touch_a_lease_that_was_renewed_meanwhile(store: LocalStore) -> None:
    other = elsewhere(NOW - 2 * STALE_AFTER_S)
    take(store, other)

    class Slow(LocalStore):
        def put_new(self, name: str, data: bytes) -> None:
            renew(store, other, NOW)
            super().put_new(name, data)

    with pytest.raises(RefusedError, match="node-7"):
        take(Slow(store.root), new_lease(NOW))
    assert lease.read(store) == other._replace(beat_at=NOW)
    assert names(store) == [NAME]


def test_a_lost_answer_to_the_own_first_try_is_no_other_run(store: LocalStore) -> None:
    class Deaf(LocalStore):
        def put_new(self, name: str, data: bytes) -> None:
            super().put_new(name, data)
            raise AlreadyExists(name)  # what a retry meets after its first answer was lost

    mine = new_lease(NOW)
    take(Deaf(store.root), mine)
    assert lease.read(store) == mine


def test_a_store_that_fails_is_not_taken_for_one_without_a_lease(store: LocalStore) -> None:
    take(store, elsewhere())

    class Broken(LocalStore):
        def read(self, name: str) -> bytes:
            raise StorageError(f"{name}: 503")

    with pytest.raises(StorageError, match="503"):
        take(Broken(store.root), new_lease(NOW))


def test_a_store_that_does_not_answer_is_not_asked_again(store: LocalStore) -> None:
    with pytest.raises(Unavailable), held(store) as mine:
        store.read = store.list = None  # type: ignore[method-assign,assignment]
        raise Unavailable("no answer for a minute")
    assert lease.read(LocalStore(store.root)) == mine, "it grows stale by itself"
    with held(LocalStore(store.root)):
        pass  # for this process it is over already


def clock_after(steps: list[float], event: threading.Event) -> Callable[[], float]:
    """A clock with the given times, the last for ever; the event is set when that is reached."""
    left = iter(steps)
    last = steps[-1]

    def clock() -> float:
        now = next(left, None)
        if now is None:
            event.set()
        return last if now is None else now

    return clock


def test_the_lease_is_renewed_while_the_block_lasts_and_gone_after_it(store: LocalStore) -> None:
    beaten = threading.Event()
    with held(store, clock=clock_after([NOW, NOW + 15, NOW + 30], beaten), every_s=0.001) as mine:
        assert beaten.wait(PATIENCE_S)
        standing = lease.read(store)
        assert standing is not None
        assert (standing.run_id, standing.started_at, standing.beat_at) == (mine.run_id, NOW, NOW + 30)
    assert names(store) == []


def test_a_beat_that_fails_does_not_end_the_run(store: LocalStore) -> None:
    failed = threading.Event()

    class Full(LocalStore):
        def replace(self, name: str, data: bytes) -> None:  # noqa: ARG002
            failed.set()
            raise StorageError("no space left")

    with held(Full(store.root), every_s=0.001):
        assert failed.wait(PATIENCE_S)
    assert names(store) == []


def taken_at_a_beat(store: LocalStore) -> Callable[[], float]:
    """A clock that stands still; when it is asked for the first beat, another run takes the lease."""
    actions = iter([lambda: None, lambda: take(store, elsewhere(), take_over=True)])

    def clock() -> float:
        next(actions, lambda: None)()
        return NOW

    return clock


def test_a_run_whose_lease_is_taken_stops_with_one_line(store: LocalStore) -> None:
    never = threading.Event()
    with pytest.raises(RefusedError) as refused, held(store, clock=taken_at_a_beat(store), every_s=0.001):
        assert never.wait(PATIENCE_S), "is interrupted"
    assert "the run on node-7 (pid 4321) since 2027-01-15 08:00:00 UTC took over" in str(refused.value)
    assert "what is committed stays" in str(refused.value)
    assert json.loads(store.read(NAME))["host"] == "node-7", "the other's lease stays"


def test_a_run_stops_also_where_interrupts_are_ignored(store: LocalStore) -> None:
    never = threading.Event()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(RefusedError), held(store, clock=taken_at_a_beat(store), every_s=0.001):
            assert never.wait(PATIENCE_S), "is interrupted"
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupt_of_the_user_stays_one(store: LocalStore) -> None:
    with pytest.raises(KeyboardInterrupt), held(store):
        raise KeyboardInterrupt
    assert names(store) == []


def test_outside_the_main_thread_a_lost_lease_is_told(store: LocalStore) -> None:
    told = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "was lost" in record.getMessage() and "node-7" in record.getMessage():
                told.set()

    def work() -> bool:
        with held(store, clock=taken_at_a_beat(store), every_s=0.001):
            return told.wait(PATIENCE_S)

    listener = Listener()
    logger.addHandler(listener)
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(work).result()
    finally:
        logger.removeHandler(listener)
