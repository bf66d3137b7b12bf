"""Two runs on one output: at once, taken over, after a jump of a clock, and one that wakes up when all is done."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

import mien.datasets
from buckets import BUCKET
from command_line import Ended, start_job
from exact_runs import POLL_S, assert_exact, end_of, ending, num_commits, tree, wait_until, write_copies
from mien.datasets.verify import verify
from mien.errors import DatasetError, RefusedError
from mien.storage import lease
from mien.storage.commit import COMPLETE
from mien.storage.emulator import Emulator
from mien.storage.uri import Store, open_store

NUM_VIDEOS = 20
NUM_ZOMBIES = 5
SETTINGS = ("min_shard_mb=0", "crop.size_px=64", "cluster.num_cpus=1", "cluster.object_store_gb=0.2")
AT_ONCE = (*SETTINGS, "workers.clips_per_task=1")


class Place(NamedTuple):
    """One output, and the command that fills it."""

    store: Store
    words: tuple[str, ...]
    assets_dir: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        return start_job(*self.words, *words, MIEN_ASSETS=str(self.assets_dir))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, faces_dir: Path) -> Path:
    """Small good videos, all alike but for their names."""
    return write_copies(tmp_path_factory.mktemp("videos"), faces_dir, NUM_VIDEOS)


@pytest.fixture
def make_place(source: Path, tmp_path: Path, assets_dir: Path, emulator: Emulator) -> Callable[..., Place]:
    """An output of a kind."""

    def make(kind: str, name: str = "out") -> Place:
        output = {"local": str(tmp_path / name), "bucket": f"gs://{BUCKET}/{tmp_path.name}-{name}"}[kind]
        return Place(open_store(output), (f"source={source}", f"output={output}", *AT_ONCE), assets_dir)

    return make


def assert_stopped(ended: Ended, *parts: str) -> None:
    assert ended.code == 5, ended.err[-2000:]
    assert "Traceback" not in ended.err
    assert len(ended.complaints) == 1, ended.err
    assert [part for part in parts if part not in ended.complaints[0]] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "bucket"])
def test_of_two_runs_that_start_at_once_one_makes_the_dataset_and_the_other_says_so(
    make_place: Callable[..., Place], kind: str
) -> None:
    place = make_place(kind)
    first, second = place.start(), place.start()
    with ending(first, second):
        ends = sorted((end_of(process) for process in (first, second)), key=lambda ended: ended.code)
    assert ends[0].code == 0, ends[0].err[-2000:]
    assert_stopped(ends[1], place.store.uri)
    assert "is at work there" in ends[1].err or "is just starting there" in ends[1].err
    times = assert_exact(place.store.uri, NUM_VIDEOS)
    assert set(times.values()) == {1}, "no clip was made twice"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "bucket"])
@pytest.mark.parametrize("way", ["taken over", "clock jumped"])
def test_a_second_run_beside_the_first_leaves_the_dataset_exact_and_no_reader_sees_a_part(
    make_place: Callable[..., Place], kind: str, way: str
) -> None:
    place, seen = make_place(kind), Counter[str]()
    first = place.start()
    with ending(first):
        wait_until(lambda: num_commits(place.store.uri) > 1, first)
        second = place.start(*(["--take-over"] if way == "taken over" else []))
        with ending(second):
            while second.poll() is None:
                if way == "clock jumped":
                    make_stale(place.store, first)
                look(place.store, seen)
                with suppress(subprocess.TimeoutExpired):
                    second.wait(POLL_S)
            ends = [end_of(process) for process in (first, second)]
    result = verify(mien.datasets.open(place.store.uri))
    print(f"{kind}, {way}: {[(ended.code, ended.complaints) for ended in ends]}, reads {dict(seen)}, {result}")
    if ends[0].code:  # it may have finished just before
        assert_stopped(ends[0], "took over, so this one stopped")
    assert (ends[1].code, ends[1].complaints) == (0, []), ends[1].err
    assert seen.keys() <= {"refused", "whole"}
    times = assert_exact(place.store.uri, NUM_VIDEOS)
    print(f"{sum(times.values()) - len(times)} clips committed again")


def make_stale(store: Store, first: subprocess.Popen[str]) -> None:
    """What the second run sees of the first if one of their clocks has jumped."""
    standing = lease.read(store)
    if standing and standing.pid == first.pid and first.poll() is None:
        with suppress(RefusedError):  # the second was quicker
            lease.renew(store, standing, standing.started_at - 1e6)


def look(store: Store, seen: Counter[str]) -> None:
    """One look of a reader; an output that is not even planned is no dataset yet."""
    try:
        dataset = mien.datasets.open(store.uri)
    except DatasetError as error:
        seen["refused" if "is unfinished" in str(error) else str(error)] += 1
    else:
        seen["whole" if len(dataset) == NUM_VIDEOS else f"{len(dataset)} of {NUM_VIDEOS}"] += 1
        dataset.close()


def contents(store: Store) -> dict[str, tuple[int, bytes]]:
    """The completion record and all that it names, with their generations."""
    record = json.loads(store.read(COMPLETE))
    names = {COMPLETE, *(file["name"] for file in record["files"])}
    return {entry.name: (entry.generation, store.read(entry.name)) for entry in store.list() if entry.name in names}


def suspend(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Let everything of a run stand still, also what it starts meanwhile."""
    stopped = list[psutil.Process]()
    while new := [member for member in tree(process) if member not in stopped]:
        for member in new:
            with suppress(psutil.NoSuchProcess):
                member.suspend()
            stopped.append(member)
    return stopped


def wake_up_when_all_is_done(place: Place, num_awake: int) -> tuple[Ended, str]:
    """A run falls asleep after some commits, another finishes, the first wakes up: its end, and what it left behind."""
    zombie = place.start()
    with ending(zombie):
        wait_until(lambda: num_commits(place.store.uri) >= num_awake, zombie)
        asleep = suspend(zombie)
        num_made = num_commits(place.store.uri)
        assert num_made < NUM_VIDEOS, "it was in the middle"
        second = place.start("--take-over")
        with ending(second):
            ended = end_of(second)
        assert ended.code == 0, ended.err[-2000:]
        before = contents(place.store)
        for member in asleep:
            with suppress(psutil.NoSuchProcess):
                member.resume()
        woken = end_of(zombie)
    assert contents(place.store) == before
    late = {entry.name for entry in place.store.list()} - before.keys()
    return woken, f"asleep after {num_made} commits, left {len(late)} files"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "bucket"])
def test_a_run_that_stood_still_and_wakes_up_when_another_has_finished_changes_nothing(
    make_place: Callable[..., Place], kind: str, capsys: pytest.CaptureFixture[Any]
) -> None:
    for number in range(NUM_ZOMBIES):
        place = make_place(kind, f"out-{number}")
        woken, told = wake_up_when_all_is_done(place, number + 1)
        with capsys.disabled():
            print(f"\n{kind} {number}: {told}; {woken.code} {woken.complaints}")
        assert_stopped(woken, place.store.uri, "so this one stopped")
        if "left 0 files" not in told:  # it fell asleep between its last look and its commit
            assert end_of(place.start()).code == 0
        assert_exact(place.store.uri, NUM_VIDEOS)
