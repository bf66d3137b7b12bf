import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mien import schema
from mien.datasets import index
from mien.datasets.parquet import ParquetConfig
from mien.errors import DatasetError, StorageError
from mien.storage.local import LocalStore
from mien.storage.uri import Entry
from sample_datasets import make_clip, tables, write_failure, write_shard


def ids(numbers: list[int]) -> list[str]:
    return sorted(make_clip(number).clip_id for number in numbers)


def plan(store: LocalStore, num_clips: int) -> None:
    index.write_plan(store, (make_clip(number).to_row() for number in range(num_clips)))


@pytest.mark.parametrize("num_clips", [1, 3, 7, 9])
def test_the_plan_is_written_in_bounded_files_and_read_back(store: LocalStore, num_clips: int) -> None:
    rows = [make_clip(number).to_row() for number in range(num_clips)]
    assert index.write_plan(store, iter(rows), rows_per_file=3) == num_clips
    assert len(index.plan_files(store)) == -(-num_clips // 3)
    assert [row for table in index.read_plan(store) for row in table.to_pylist()] == rows
    assert [clip_id.decode() for clip_id in index.planned_ids(store)] == [row["clip_id"] for row in rows]


def test_a_planner_that_is_killed_half_way_leaves_no_plan(store: LocalStore) -> None:
    def rows(num_clips: int, *, killed: bool) -> Iterator[dict[str, Any]]:
        yield from (make_clip(number).to_row() for number in range(num_clips))
        if killed:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.write_plan(store, rows(10, killed=True), rows_per_file=2)
    assert next(store.list("plan/")).name == "plan/00001.parquet", "it did write something"
    assert index.plan_files(store) == []
    assert len(index.planned_ids(store)) == 0
    index.write_plan(store, rows(5, killed=False), rows_per_file=2)
    assert len(index.plan_files(store)) == 3
    assert len(index.planned_ids(store)) == 5, "what the first one left is gone"


def test_the_same_plan_gives_the_same_bytes(store: LocalStore) -> None:
    rows = [make_clip(number).to_row() for number in range(3)]
    index.write_plan(store, rows)
    first = store.read("plan/00000.parquet")
    index.write_plan(store, rows)
    assert store.read("plan/00000.parquet") == first


def test_committed_tells_made_from_failed(store: LocalStore) -> None:
    write_shard(store, ParquetConfig(), [make_clip(0), make_clip(1)], "a")
    write_failure(store, make_clip(2), "b")
    made, failed = index.committed(store)
    assert [clip_id.decode() for clip_id in made] == ids([0, 1])
    assert [clip_id.decode() for clip_id in failed] == ids([2])
    write_shard(store, ParquetConfig(), [make_clip(2), make_clip(1)], "c")
    made, failed = index.committed(store)
    assert [clip_id.decode() for clip_id in made] == ids([0, 1, 2])
    assert len(failed) == 0


def test_a_clip_in_two_shards_counts_once_by_the_first_record(store: LocalStore) -> None:
    plan(store, 3)
    write_shard(store, ParquetConfig(), [make_clip(0), make_clip(1)], "b")
    write_shard(store, ParquetConfig(), [make_clip(1), make_clip(2)], "a")
    table, failures = tables(store)
    rows = {row["clip_id"]: row["file"] for row in table.to_pylist()}
    assert sorted(rows) == ids([0, 1, 2])
    assert len(table) == 3
    assert not len(failures)
    assert rows[make_clip(1).clip_id] == "data/a.parquet"


def test_success_beats_failure_and_attempts_are_counted(store: LocalStore) -> None:
    plan(store, 1)
    for write_id in ("a", "b"):
        write_failure(store, make_clip(0), write_id)
    _, failures = tables(store)
    assert failures.column("attempts").to_pylist() == [2]
    write_shard(store, ParquetConfig(), [make_clip(0)], "c")
    table, failures = tables(store)
    assert (len(table), len(failures)) == (1, 0)


def test_tables_have_the_columns_of_the_schema(store: LocalStore) -> None:
    plan(store, 1)
    write_shard(store, ParquetConfig(), [make_clip(0)], "a")
    table, failures = tables(store)
    assert table.column_names == schema.names(schema.INDEX)
    assert failures.column_names == schema.names(schema.FAILURES)
    assert set(json.loads(table.column("checksums")[0].as_py())) >= {"crop", "pts"}


def test_a_damaged_table_is_named(store: LocalStore) -> None:
    store.replace(index.INDEX, b"nonsense")
    for read in (lambda store: index.open_tables(store, {}), lambda store: index.read_parquet(store, index.INDEX)):
        with pytest.raises(DatasetError, match=r"index\.parquet: is damaged"):
            read(store)
    plan(store, 1)
    store.replace(index.INDEX, store.read("plan/00000.parquet"))
    for read in (lambda store: index.open_tables(store, {}), lambda store: index.read_parquet(store, index.FAILURES)):
        with pytest.raises(DatasetError, match=r"has no failures\.parquet"):
            read(store)


def test_tables_are_in_the_order_of_the_plan(store: LocalStore) -> None:
    order = [3, 0, 4, 1, 2]
    index.write_plan(store, [make_clip(number).to_row() for number in order], rows_per_file=2)
    write_shard(store, ParquetConfig(), [make_clip(0), make_clip(1)], "b")
    write_shard(store, ParquetConfig(), [make_clip(2), make_clip(3)], "a")
    write_failure(store, make_clip(4), "c")
    table, failures = tables(store)
    made = [make_clip(number).clip_id for number in order if number != 4]
    assert table.column("clip_id").to_pylist() == made
    assert failures.column("clip_id").to_pylist() == [make_clip(4).clip_id]


def test_a_clip_outside_the_plan_is_an_error_that_names_it(store: LocalStore) -> None:
    plan(store, 1)
    write_shard(store, ParquetConfig(), [make_clip(0), make_clip(5)], "a")
    with pytest.raises(DatasetError, match=f"clip {make_clip(5).clip_id}: .* the plan does not"):
        tables(store)


def test_a_folder_that_cannot_be_used_is_one_clear_error(store: LocalStore, tmp_path: Path) -> None:
    plan(store, 1)
    with pytest.raises(StorageError, match=r"/gone: does not exist"):
        index.build(store, tmp_path / "gone")


def test_the_files_are_those_of_the_records_and_the_records_themselves(store: LocalStore, tmp_path: Path) -> None:
    plan(store, 3)
    write_shard(store, ParquetConfig(), [make_clip(0)], "a")
    write_failure(store, make_clip(1), "b")
    files = {file["name"]: file["sha256"] for file in index.build(store, tmp_path).files}
    names = ["data/a.parquet", "commits/a.json", "commits/b.json"]
    assert files == {name: hashlib.sha256(store.read(name)).hexdigest() for name in names}


class Counting(LocalStore):
    """Counts listings and reads."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.calls = Counter[str]()

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self.calls["list"] += 1
        return super().list(prefix)

    def read(self, name: str) -> bytes:
        self.calls[name.partition("/")[0]] += 1
        return super().read(name)


def empty_records(store: LocalStore, count: int) -> None:
    folder = store.root / "commits"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05d}.json").write_text('{"write_id": "x", "files": [], "samples": [], "failures": []}')


@pytest.mark.parametrize("num_records", [10, 10_000])
def test_the_number_of_listings_does_not_grow_with_the_records(tmp_path: Path, num_records: int) -> None:
    store = Counting(tmp_path / "out")
    plan(store, 1)
    empty_records(store, num_records)
    store.calls.clear()
    index.committed(store)
    assert store.calls == {"list": 1, "commits": num_records}, "one listing, and each record once"
    store.calls.clear()
    index.committed_models(store)
    assert store.calls == {"list": 1, "commits": 1}
    store.calls.clear()
    (tmp_path / "scratch").mkdir()
    index.build(store, tmp_path / "scratch")
    assert store.calls == {"list": 2, "commits": num_records, "plan": 1}


def test_plan_is_plain_parquet(store: LocalStore) -> None:
    index.write_plan(store, [make_clip(0).to_row()])
    assert pq.read_table(store.fetch("plan/00000.parquet")).column_names == schema.names(schema.PLAN)
