from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.datasets import index
from mien.datasets.manifest import Manifest, Step, pace
from mien.errors import DatasetError
from mien.storage.commit import commit
from mien.storage.local import LocalStore
from mien.storage.uri import Entry
from sample_datasets import failure_row, make_clip


class CountingStore(LocalStore):
    """Counts what is read, and which folders are listed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads, self.lists = Counter[str](), Counter[str]()

    def read(self, name: str) -> bytes:
        self.reads[name] += 1
        return super().read(name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self.lists[prefix] += 1
        return super().list(prefix)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path / "dataset")


def put(store: LocalStore, name: str, made: dict[int, list[int]], failed: dict[int, str], at: float = 0) -> None:
    """One commit record: clips by number with the frames of their tracks, and clips with why they failed."""
    samples = [
        {"clip_id": make_clip(n).clip_id, "num_frames": frames} for n, tracks in made.items() for frames in tracks
    ]
    failures = [failure_row(make_clip(n), why) for n, why in failed.items()]
    record: dict[str, Any] = {"files": [], "samples": samples, "failures": failures}
    assert commit(store, name, name, record | {"finished_at": at, "run_id": "run"})


def test_clips_are_counted_once_and_as_made_if_one_shard_made_them(store: CountingStore) -> None:
    index.write_plan(store, (make_clip(number).to_row() for number in range(6)))
    put(store, "a", {0: [10, 5]}, {1: "first reason"}, at=10)
    put(store, "b", {0: [10, 5], 2: [7]}, {3: "third"}, at=20)
    put(store, "c", {1: [4]}, {3: "third again", 4: "fourth"}, at=30)
    put(store, "d", {}, {1: "of a run that came second"}, at=40)
    manifest = Manifest(store)
    manifest.refresh()
    assert (manifest.num_clips, manifest.num_made, manifest.num_frames) == (6, 3, 15 + 7 + 4)
    assert manifest.failures() == ["third again", "fourth"]
    assert sorted(manifest.steps) == [Step(10, "run", 2), Step(20, "run", 3), Step(30, "run", 3), Step(40, "run", 1)]


def test_what_was_read_is_not_read_again(store: CountingStore) -> None:
    index.write_plan(store, (make_clip(number).to_row() for number in range(300)))
    manifest = Manifest(store)
    manifest.refresh()
    for number in range(270):  # more than are read at once
        put(store, f"{number:03d}", {number: [1]}, {})
    manifest.refresh()
    store.lists.clear()
    put(store, "zzz", {299: [1]}, {})
    for _ in range(5):
        manifest.refresh()
    assert (manifest.num_clips, manifest.num_made) == (300, 271)
    assert set(store.reads.values()) == {1}
    assert len(store.reads) == 1 + 271
    assert store.lists == {"commits/": 5}


def test_a_plan_that_is_still_written_grows(store: CountingStore) -> None:
    manifest = Manifest(store)
    manifest.refresh()
    assert manifest.num_clips == 0
    index.write_plan(store, [make_clip(0).to_row()])
    manifest.refresh()
    assert manifest.num_clips == 1


def test_a_dataset_that_is_started_over_is_counted_anew(store: CountingStore) -> None:
    index.write_plan(store, (make_clip(number).to_row() for number in range(4)))
    put(store, "a", {0: [1]}, {1: "why"})
    manifest = Manifest(store)
    manifest.refresh()
    for entry in list(store.list()):
        store.delete(entry.name)
    index.write_plan(store, (make_clip(number).to_row() for number in range(2)))
    put(store, "b", {1: [3]}, {})
    manifest.refresh()
    assert (manifest.num_clips, manifest.num_made, manifest.num_frames) == (2, 1, 3)
    assert manifest.failures() == []


def test_a_record_that_is_none_is_named(store: CountingStore) -> None:
    store.put_new("commits/a.json", b"{}")
    with pytest.raises(DatasetError, match=r"commits/a\.json: is not a commit record"):
        Manifest(store).refresh()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], None),
        ([Step(100, "a", 5)], None),
        ([Step(100, "a", 5), Step(110, "a", 20)], 2.0),
        ([Step(110, "a", 20), Step(100, "a", 5)], 2.0),
        ([Step(100, "a", 5), Step(110, "a", 20), Step(90_000, "b", 9), Step(90_030, "b", 60)], 80 / 40),
        ([Step(100, "a", 5), Step(90_000, "b", 9)], None),
        ([Step(0, "a", 1), Step(10_000, "a", 1), Step(10_300, "a", 600), Step(10_600, "a", 600)], 2.0),
        ([Step(50, "a", 1), Step(50, "a", 1)], None),
    ],
    ids=["none", "one", "two", "any order", "idle between runs", "one each", "only the last minutes", "at once"],
)
def test_the_pace_is_that_of_the_work_and_not_of_the_clock(steps: list[Step], expected: float | None) -> None:
    assert pace(steps) == pytest.approx(expected)
