import json

import pyarrow.parquet as pq
import pytest

from mien import schema
from mien.datasets import index
from mien.datasets.parquet import ParquetConfig
from mien.errors import DatasetError
from mien.storage.local import LocalStore
from sample_datasets import make_clip, write_failure, write_shard


def ids(numbers: list[int]) -> list[str]:
    return sorted(make_clip(number).clip_id for number in numbers)


def test_the_plan_is_written_in_bounded_files_and_read_back(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_ROWS_PER_PLAN_FILE", 3)
    rows = [make_clip(number).to_row() for number in range(7)]
    assert index.write_plan(store, iter(rows)) == 7
    assert len(index.plan_files(store)) == 3
    assert [row for table in index.read_plan(store) for row in table.to_pylist()] == rows


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


def test_a_clip_in_two_shards_counts_once_by_the_first_record(store: LocalStore) -> None:
    write_shard(store, ParquetConfig(), [make_clip(0), make_clip(1)], "b")
    write_shard(store, ParquetConfig(), [make_clip(1), make_clip(2)], "a")
    table, failures = index.build(store)
    rows = {row["clip_id"]: row["file"] for row in table.to_pylist()}
    assert sorted(rows) == ids([0, 1, 2])
    assert len(table) == 3
    assert not len(failures)
    assert rows[make_clip(1).clip_id] == "data/a.parquet"


def test_success_beats_failure_and_attempts_are_counted(store: LocalStore) -> None:
    for write_id in ("a", "b"):
        write_failure(store, make_clip(0), write_id)
    _, failures = index.build(store)
    assert failures.column("attempts").to_pylist() == [2]
    write_shard(store, ParquetConfig(), [make_clip(0)], "c")
    table, failures = index.build(store)
    assert (len(table), len(failures)) == (1, 0)


def test_tables_have_the_columns_of_the_schema(store: LocalStore) -> None:
    write_shard(store, ParquetConfig(), [make_clip(0)], "a")
    table, failures = index.build(store)
    assert table.column_names == schema.names(schema.INDEX)
    assert failures.column_names == schema.names(schema.FAILURES)
    assert set(json.loads(table.column("checksums")[0].as_py())) >= {"crop", "pts"}


def test_a_damaged_table_is_named(store: LocalStore) -> None:
    store.replace(index.INDEX, b"nonsense")
    with pytest.raises(DatasetError, match=r"index\.parquet: is damaged"):
        index.read_parquet(store, index.INDEX)
    with pytest.raises(DatasetError, match=r"has no failures\.parquet"):
        index.read_parquet(store, index.FAILURES)


def test_merged_ids_are_sorted_and_unique(store: LocalStore) -> None:
    write_shard(store, ParquetConfig(), [make_clip(0), make_clip(1)], "a")
    made, failed = index.committed(store)
    assert index.merge_ids(made, made, failed).tolist() == made.tolist()


def test_plan_is_plain_parquet(store: LocalStore) -> None:
    index.write_plan(store, [make_clip(0).to_row()])
    assert pq.read_table(store.fetch("plan/00000.parquet")).column_names == schema.names(schema.PLAN)
