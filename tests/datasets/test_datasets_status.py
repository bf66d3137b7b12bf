import io
import itertools
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from buckets import BUCKET
from mien.datasets import index, status
from mien.datasets.dataset import COMPLETE
from mien.datasets.parquet import ParquetConfig
from mien.datasets.status import FINISHED, RUNNING, STOPPED, Observer, Status, duration, follow, picture
from mien.errors import DatasetError
from mien.storage import lease
from mien.storage.commit import commit
from mien.storage.emulator import Emulator
from mien.storage.lease import STALE_AFTER_S, Lease
from mien.storage.local import LocalStore
from mien.storage.uri import Store, open_store
from sample_datasets import failure_row, make_clip, make_finished

START = 1_800_000_000.0
ELSEWHERE = Lease("r", "node-7", "another boot", 4321, "1", START, START)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Ten planned clips: five made and one failed in ten minutes of two runs, with a night between them."""
    store = LocalStore(tmp_path / "dataset")
    index.write_plan(store, (make_clip(number).to_row() for number in range(10)))
    put(store, START, "a", [0])
    put(store, START + 300, "a", [1, 2])
    put(store, START + 40_000, "b", [3])
    put(store, START + 40_300, "b", [4], failed={5: "no face"})
    return store


def put(store: Store, at: float, run_id: str, made: list[int], failed: dict[int, str] | None = None) -> None:
    samples = [{"clip_id": make_clip(number).clip_id, "num_frames": 30} for number in made]
    failures = [failure_row(make_clip(number), why) for number, why in (failed or {}).items()]
    record = {"files": [], "samples": samples, "failures": failures, "finished_at": at, "run_id": run_id}
    assert commit(store, f"{at:.0f}", "w", record)


def look(store: LocalStore, now: float = START + 40_400) -> Status:
    return Observer(store, lambda: now).look()


def test_share_pace_and_time_left_survive_a_night_between_two_runs(store: LocalStore) -> None:
    seen = look(store)
    assert (seen.num_clips, seen.num_made, seen.num_failed, seen.num_frames) == (10, 5, 1, 150)
    assert seen.share == pytest.approx(0.6)
    assert seen.clips_per_s == pytest.approx(4 / 600)
    assert seen.left_s == pytest.approx(4 * 150)
    assert seen.committed_at == START + 40_300
    assert seen.failures == ["no face"]


@pytest.mark.parametrize("jumps_s", [*itertools.permutations([0.0, 1e9, -86_400.0]), (-START, 0.0, 3600.0)])
def test_clocks_that_jump_back_and_forth_make_no_pace_or_time_negative(
    tmp_path: Path, jumps_s: tuple[float, ...]
) -> None:
    store = LocalStore(tmp_path)
    index.write_plan(store, (make_clip(number).to_row() for number in range(10)))
    for number, jump_s in enumerate((*jumps_s, *jumps_s)):
        put(store, START + jump_s + number, "ab"[number % 2], [number])
    for now in (START, START + jumps_s[0], 0.0, 1e12):
        seen = look(store, now)
        assert (seen.num_made, seen.state) == (6, STOPPED)
        assert (seen.clips_per_s or 0) >= 0
        assert (seen.left_s or 0) >= 0
        assert " -" not in seen.line()
        json.dumps(seen.to_json(), allow_nan=False)
        assert seen.summary()["last commit"]


def test_a_run_is_at_work_while_its_lease_is_fresh(store: LocalStore) -> None:
    assert (look(store).state, look(store).run) == (STOPPED, None)
    lease.take(store, ELSEWHERE)
    running = look(store, START + STALE_AFTER_S - 1)
    assert (running.state, running.run) == (RUNNING, ELSEWHERE)
    died = look(store, START + STALE_AFTER_S)
    assert (died.state, died.run) == (STOPPED, ELSEWHERE)
    assert "same `mien serialize` command" in died.next
    assert running.next == f"mien status {store.uri} --watch"


def test_a_finished_dataset_has_nothing_left(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "finished")
    make_finished(store, ParquetConfig())
    seen = look(store)
    assert (seen.state, seen.num_clips, seen.num_made, seen.num_failed) == (FINISHED, 4, 3, 1)
    assert seen.next == f"mien inspect {store.uri}"
    assert seen.line() == "4/4 clips  100 %  1 failed  finished"


def test_a_finished_dataset_that_a_run_works_on_is_not_finished(store: LocalStore) -> None:
    store.put_new(COMPLETE, b"{}")
    lease.take(store, ELSEWHERE)
    assert look(store, START).state == RUNNING
    assert look(store, START + 100).state == FINISHED


def test_a_run_that_is_still_planning_is_at_work(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    lease.take(store, ELSEWHERE)
    seen = look(store, START)
    assert (seen.state, seen.num_clips, seen.share, seen.left_s) == (RUNNING, 0, 0, None)
    assert seen.line() == "0/0 clips  0 %  running"


@pytest.mark.parametrize("make", [str, Path.mkdir, Path.touch], ids=["absent", "empty", "file"])
def test_what_is_no_dataset_is_told_in_one_line(tmp_path: Path, make: Callable[[Path], object]) -> None:
    place = tmp_path / "place"
    make(place)
    with pytest.raises(DatasetError, match=rf"^{place}: is not a dataset of mien: it has neither mien.json nor plan/$"):
        status.look(str(place))


def test_the_same_is_said_in_json_and_in_words(store: LocalStore) -> None:
    lease.take(store, ELSEWHERE)
    seen = look(store, START + 1)
    plain = json.loads(json.dumps(seen.to_json(), allow_nan=False))
    assert plain["share"] == 0.6
    assert plain["run"]["host"] == "node-7"
    assert seen.line() == "6/10 clips  60 %  0.4 clips/min  10 min left  1 failed  running"
    words = seen.summary()
    assert words["progress"] == seen.line()
    assert words["run"] == (
        "the run on node-7 (pid 4321) since 2027-01-15 08:00:00 UTC, last sign of life 2027-01-15 08:00:00 UTC"
    )
    assert words["failed 1"] == "no face"
    assert words["last commit"] == "2027-01-15 19:11:40 UTC"


def test_a_run_into_a_bucket_is_watched_there(emulator: Emulator) -> None:
    store = open_store(f"gs://{BUCKET}/status")
    with pytest.raises(DatasetError, match=rf"^gs://{BUCKET}/status: is not a dataset of mien"):
        status.look(store.uri)
    lease.take(store, ELSEWHERE)
    index.write_plan(store, (make_clip(number).to_row() for number in range(40)))
    for number in range(30):
        put(store, START + number, "a", [number])
    seen = Observer(store, lambda: START + 1).look()
    assert (seen.state, seen.num_done, seen.clips_per_s) == (RUNNING, 30, pytest.approx(1))


def test_a_terminal_shows_reasons_as_they_stand(store: LocalStore) -> None:
    put(store, START + 41_000, "b", [], failed={6: "a[bold].mp4: is [/] empty"})
    console = Console(file=io.StringIO(), width=120)
    console.print(picture(look(store)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "a[bold].mp4: is [/] empty" in text
    assert "7/10 clips" in text


def test_watching_ends_when_the_run_is_finished(store: LocalStore) -> None:
    steps = iter([lambda: put(store, START + 40_900, "b", [6, 7, 8, 9]), lambda: store.put_new(COMPLETE, b"{}")])
    shown = list[str]()
    last = follow(Observer(store), lambda seen: shown.append(f"{seen.num_done} {seen.state}"), lambda: next(steps)())
    assert shown == ["6 stopped", "10 stopped", "10 finished"]
    assert last.state == FINISHED


def test_an_interrupt_ends_watching_with_what_was_seen_last(store: LocalStore) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert follow(Observer(store), Status.line, interrupted).num_done == 6


def test_without_a_terminal_watching_writes_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_finished(LocalStore(tmp_path / "finished"), ParquetConfig())
    with caplog.at_level(logging.INFO, "mien"):
        assert status.watch(str(tmp_path / "finished")).state == FINISHED
    assert caplog.messages == ["4/4 clips  100 %  1 failed  finished"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (99.4, "99 s"),
        (100, "2 min"),
        (240, "4 min"),
        (99 * 60, "99 min"),
        (2 * 3600 + 5 * 60, "2 h 05 min"),
        (48 * 3600 - 60, "47 h 59 min"),
        (3 * 86_400 + 4 * 3600, "3 d 04 h"),
    ],
)
def test_a_duration_is_told_in_units_that_matter(seconds: float, text: str) -> None:
    assert duration(seconds) == text
