import json
from collections.abc import Mapping
from typing import Any

import pytest

from mien.datasets.formats import FormatConfig, open_shard
from mien.datasets.frames import checksum
from mien.datasets.hdf5 import Hdf5Config
from mien.datasets.parquet import ParquetConfig
from mien.datasets.rebuild import empty, prove, rebuild
from mien.errors import DatasetError
from mien.storage.commit import commit, digest, read_commits
from mien.storage.local import LocalStore
from sample_datasets import make_clip, make_columns, write_failure, write_shard


def record_of(store: LocalStore, shard: str) -> dict[str, Any]:
    return next(record for record in read_commits(store) if record["shard"] == shard)


def without_s1(row: Mapping[str, Any]) -> bool:
    return bool(row["subject"] != "s1")


@pytest.mark.parametrize("raw", [False, True], ids=["jpeg", "raw"])
def test_what_stays_is_the_same_value_for_value(store: LocalStore, kind: FormatConfig, raw: bool) -> None:
    clips = [make_clip(number) for number in range(3)]
    write_shard(store, kind, clips, "old", raw=raw)
    old = record_of(store, "old")
    rebuild(store, old, "new", without_s1, {})
    new = record_of(store, "new")
    assert [row["subject"] for row in new["samples"]] == ["s0", "s2"]
    (file,) = new["files"]
    path = store.fetch(file["name"])
    assert file == {"name": file["name"], **digest(path)._asdict()}
    assert path.suffix == kind.suffix
    with open_shard(path) as shard:
        assert shard.num_rows == 12
        assert shard.metadata() == {"version": "test"}
        assert shard.samples() == new["samples"]
        for row, clip in zip(new["samples"], (clips[0], clips[2]), strict=True):
            made = make_columns(clip.clip_id, 6, clip.source.size_bytes, raw=raw)
            found = {name: shard.read(name, row["row_start"], row["row_stop"]) for name in shard.columns}
            assert {name: checksum(values) for name, values in found.items()} == {
                name: checksum(values) for name, values in made.items()
            }
    assert record_of(store, "old") == old, "the old shard is somebody else's business"


def test_facts_of_the_models_stay_and_unknown_ones_do_not(store: LocalStore) -> None:
    samples = {"files": [], "samples": [], "failures": [{"clip_id": "x", "subject": "s0"}]}
    commit(store, "old", "w", {**samples, "models": {"net": 1}, "finished_at": 2.0, "clip_ids": ["of", "s1"]})
    rebuild(store, record_of(store, "old"), "new", without_s1, {})
    new = record_of(store, "new")
    assert (new["models"], new["finished_at"]) == ({"net": 1}, 2.0)
    assert "clip_ids" not in new


def test_nothing_is_written_for_nothing(store: LocalStore) -> None:
    write_shard(store, ParquetConfig(), [make_clip(1)], "old")
    before = [entry.name for entry in store.list()]
    rebuild(store, record_of(store, "old"), "new", without_s1, {})
    assert [entry.name for entry in store.list()] == before


def test_failures_alone_need_no_file(store: LocalStore) -> None:
    write_failure(store, make_clip(0), "old")
    rebuild(store, record_of(store, "old"), "new", without_s1, {})
    assert record_of(store, "new")["failures"] == record_of(store, "old")["failures"]
    assert list(store.list("data/")) == []


def test_the_first_of_two_runs_counts_and_the_second_leaves_no_file(store: LocalStore) -> None:
    class Behind(LocalStore):
        """Another run commits between our look and our commit."""

        def publish(self, path: Any, name: str) -> None:
            super().publish(path, name)
            rebuild(LocalStore(self.root), old, "new", without_s1, {})

    write_shard(store, ParquetConfig(), [make_clip(0), make_clip(1)], "old")
    old = record_of(store, "old")
    rebuild(Behind(store.root), old, "new", without_s1, {})
    names = {old["files"][0]["name"], record_of(store, "new")["files"][0]["name"]}
    assert {entry.name for entry in store.list("data/")} == names
    rebuild(store, old, "new", without_s1, {})
    assert {entry.name for entry in store.list("data/")} == names


def test_the_options_of_the_config_are_kept(store: LocalStore) -> None:
    import h5py

    write_shard(store, Hdf5Config(), [make_clip(0), make_clip(1)], "old")
    rebuild(store, record_of(store, "old"), "new", without_s1, {"kind": "hdf5", "compression": "gzip"})
    with h5py.File(store.fetch(record_of(store, "new")["files"][0]["name"])) as file:
        assert file["feature"].compression == "gzip"


def test_a_damaged_sample_is_named_and_not_copied(store: LocalStore, kind: FormatConfig) -> None:
    write_shard(store, kind, [make_clip(0), make_clip(1)], "old")
    store.clear_scratch()
    old = record_of(store, "old")
    sums = json.loads(old["samples"][0]["checksums"]) | {"feature": "0" * 64}
    old["samples"][0]["checksums"] = json.dumps(sums)
    with pytest.raises(DatasetError, match=rf"column feature of clip {make_clip(0).clip_id} is damaged"):
        rebuild(store, old, "new", without_s1, {})
    assert [entry.name for entry in store.list("commits/")] == ["commits/old.json"]
    assert len(list(store.list("data/"))) == 1
    assert not any(path.is_file() for path in store.scratch().parent.rglob("*")), "no half-written file stays behind"


def test_an_emptied_record_holds_its_name(store: LocalStore) -> None:
    write_shard(store, ParquetConfig(), [make_clip(1)], "old")
    old = record_of(store, "old")
    empty(store, old)
    left = record_of(store, "old")
    assert (left["files"], left["samples"], left["failures"]) == ([], [], [])
    assert not commit(store, "old", old["write_id"], {"files": [], "samples": old["samples"], "failures": []})
    assert record_of(store, "old") == left


def test_a_file_that_reads_back_differently_does_not_count(store: LocalStore, kind: FormatConfig) -> None:
    write_shard(store, kind, [make_clip(0)], "old")
    samples = record_of(store, "old")["samples"]
    path = store.fetch(f"data/old{kind.suffix}")
    prove(path, samples)
    for column in json.loads(samples[0]["checksums"]):
        sums = json.loads(samples[0]["checksums"]) | {column: "0" * 64}
        with pytest.raises(DatasetError, match=f"clip {make_clip(0).clip_id} reads back differently"):
            prove(path, [samples[0] | {"checksums": json.dumps(sums)}])
    with pytest.raises(DatasetError, match="holds 6 rows"):
        prove(path, [*samples, *samples])
