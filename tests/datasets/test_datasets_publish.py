import json

import pytest

import mien.datasets
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import Dataset
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish, remove
from mien.errors import DatasetError
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


def test_fresh_removes_what_is_ours_and_nothing_else(finished: Dataset, store: LocalStore) -> None:
    store.replace("notes.txt", b"mine")
    remove(store)
    assert [entry.name for entry in store.list()] == ["notes.txt"]
