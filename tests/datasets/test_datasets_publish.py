import json
from collections import Counter
from pathlib import Path

import pytest

import mien.datasets
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import Dataset
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish, remove
from mien.datasets.verify import verify
from mien.errors import DatasetError
from mien.storage import lease
from mien.storage.commit import commit
from mien.storage.local import LocalStore
from sample_datasets import PROVENANCE, make_clip, write_shard


class Recording(LocalStore):
    """Remembers the order in which names appeared."""

    def __init__(self, root: object) -> None:
        super().__init__(root)  # type: ignore[arg-type]
        self.names = list[str]()

    def replace(self, name: str, data: bytes) -> None:
        self.names.append(name)
        super().replace(name, data)

    def replace_file(self, path: Path, name: str) -> None:
        self.names.append(name)
        super().replace_file(path, name)


def again(store: LocalStore) -> Dataset:
    return publish(store, CardConfig(title="Test faces"), PreviewConfig(), PROVENANCE)


def test_the_completion_record_comes_last(finished: Dataset, store: LocalStore) -> None:
    recording = Recording(store.root)
    again(recording)
    assert recording.names[-1] == "mien.json"
    assert {"index.parquet", "failures.parquet", "README.md", "preview/contact_sheet.png"} < set(recording.names)


def test_it_names_every_file_with_its_sums(finished: Dataset, store: LocalStore) -> None:
    record = json.loads(store.read("mien.json"))
    named = {file["name"] for file in record["files"]}
    assert named == {entry.name for entry in store.list()} - {"mien.json"}
    assert all(len(file["crc32c"]) == 8 and len(file["sha256"]) == 64 for file in record["files"])
    assert (record["num_clips"], record["num_failed"], record["schema_version"]) == (3, 1, 1)


def test_the_lease_of_the_run_that_publishes_is_no_part_of_the_dataset(finished: Dataset, store: LocalStore) -> None:
    before = store.read("mien.json")
    with lease.held(store):
        again(store)
    assert store.read("mien.json") == before


def test_publishing_twice_changes_nothing(finished: Dataset, store: LocalStore) -> None:
    before = {entry.name: store.read(entry.name) for entry in store.list()}
    again(store)
    assert {entry.name: store.read(entry.name) for entry in store.list()} == before


def test_a_clip_that_nobody_made_keeps_it_unfinished(store: LocalStore) -> None:
    store.put_new("config.yaml", b"crop: {size_px: 32}\nfps: null\n")
    index.write_plan(store, [make_clip(n).to_row() for n in range(3)])
    write_shard(store, ParquetConfig(), [make_clip(0), make_clip(1)], "a")
    with pytest.raises(DatasetError, match="1 planned clips were not processed"):
        again(store)
    with pytest.raises(DatasetError, match="unfinished"):
        mien.datasets.open(store.root)


def test_orphans_go_and_committed_shards_stay(finished: Dataset, store: LocalStore) -> None:
    committed = {entry.name for entry in store.list("data/")}
    store.replace("data/of-a-killed-attempt.parquet", b"half")
    again(store)
    assert {entry.name for entry in store.list("data/")} == committed


def test_every_record_is_read_once(finished: Dataset, store: LocalStore) -> None:
    reads = Counter[str]()

    class Counting(LocalStore):
        def read(self, name: str) -> bytes:
            reads[name] += 1
            return super().read(name)

    again(Counting(store.root))
    assert {name: count for name, count in reads.items() if name.startswith("commits/")} == {
        f"commits/{name}.json": 1 for name in ("a1", "b2", "c3")
    }


def test_the_data_of_a_record_that_came_while_publishing_stay(store: LocalStore, finished: Dataset) -> None:
    class Late(LocalStore):
        """Another run commits the same clips once more, just before the dataset is complete."""

        def replace(self, name: str, data: bytes) -> None:
            if name == "mien.json":
                write_shard(LocalStore(self.root), ParquetConfig(), [make_clip(0)], "late")
            super().replace(name, data)

    again(Late(store.root))
    assert "data/late.parquet" in {entry.name for entry in store.list("data/")}
    assert len(again(store)) == 3


def test_a_strangers_file_is_not_vouched_for(finished: Dataset, store: LocalStore) -> None:
    store.replace("notes.txt", b"mine")
    again(store)
    assert "notes.txt" not in {file["name"] for file in json.loads(store.read("mien.json"))["files"]}
    assert store.read("notes.txt") == b"mine"


def test_nothing_unfinished_stays_behind(finished: Dataset, store: LocalStore) -> None:
    before = set((store.root / ".scratch").iterdir())
    again(store)
    assert set((store.root / ".scratch").iterdir()) == before


def test_an_attempt_that_was_thought_dead_cannot_commit_after_the_end(finished: Dataset, store: LocalStore) -> None:
    store.replace("data/old-dead.parquet", b"rows")
    dataset = again(store)
    record = {"files": [{"name": "data/old-dead.parquet"}], "samples": finished.index.to_pylist(), "failures": []}
    assert commit(store, "old", "dead", record) is False
    assert again(store).index == dataset.index == finished.index
    assert verify(dataset)["problems"] == verify(dataset)["foreign"] == []


def test_fresh_removes_what_is_ours_and_nothing_else(finished: Dataset, store: LocalStore) -> None:
    store.replace("notes.txt", b"mine")
    remove(store)
    assert [entry.name for entry in store.list()] == ["notes.txt"]
