import json
from collections.abc import Callable

import pyarrow as pa
import pytest

import mien.datasets
from mien.datasets import index
from mien.datasets.dataset import Dataset
from mien.datasets.tables import parquet_bytes
from mien.datasets.verify import verify
from mien.storage import lease
from mien.storage.local import LocalStore
from sample_datasets import make_clip


def problems(store: LocalStore) -> list[str]:
    found: list[str] = verify(mien.datasets.open(store.root))["problems"]
    return found


def test_a_whole_dataset_has_no_problem(finished: Dataset) -> None:
    result = verify(finished)
    assert result["ok"]
    assert result["problems"] == []
    assert result["foreign"] == []
    assert result["num_samples"] == 3
    assert result["num_columns"] == 3 * 14


def edit(store: LocalStore, name: str, change: Callable[[bytearray], object]) -> None:
    data = bytearray(store.read(name))
    change(data)
    (store.root / name).write_bytes(data)


def shard_of(store: LocalStore, suffix: str = "") -> str:
    return next(entry.name for entry in store.list("data/") if entry.name.endswith(suffix))


def test_every_single_damaged_file_is_named(finished: Dataset, store: LocalStore) -> None:
    for file in json.loads(store.read("mien.json"))["files"]:
        if file["name"] in {"config.yaml", index.INDEX, index.FAILURES} or file["name"].startswith(
            ("plan/", "commits/")
        ):
            continue  # a flipped bit there keeps the file from being read at all; see the tests of its reader
        whole = store.read(file["name"])
        edit(store, file["name"], lambda data: data.__setitem__(len(data) // 2, data[len(data) // 2] ^ 1))
        assert any(problem.startswith(file["name"]) for problem in problems(store)), file["name"]
        (store.root / file["name"]).write_bytes(whole)
    assert problems(store) == []


def test_a_cut_and_a_missing_shard_are_named(finished: Dataset, store: LocalStore) -> None:
    name = shard_of(store)
    edit(store, name, lambda data: data.__delitem__(slice(len(data) - 10, None)))
    assert any(name in problem and "bytes" in problem for problem in problems(store))
    store.delete(name)
    assert any(name in problem and "does not exist" in problem for problem in problems(store))


def test_a_lost_and_an_unplanned_clip_are_named(finished: Dataset, store: LocalStore) -> None:
    index.write_plan(store, [make_clip(number).to_row() for number in (0, 1, 2, 9)])
    found = problems(store)
    assert any(f"clip {make_clip(9).clip_id}: is planned" in problem for problem in found)
    assert any(f"clip {make_clip(3).clip_id}: was not planned" in problem for problem in found)


def test_a_million_of_one_problem_are_one_line(finished: Dataset, store: LocalStore) -> None:
    index.write_plan(store, [make_clip(number).to_row() for number in (50, 0, 60, 1, 2, 3, 70)])
    found = [problem for problem in problems(store) if problem.startswith("clip ")]
    assert found == [f"clip {make_clip(50).clip_id} (and 2 more): is planned, but neither made nor failed"]


def change_table(store: LocalStore, name: str, change: Callable[[pa.Table], pa.Table]) -> list[str]:
    """What verify says of the clips after a table was changed."""
    store.replace(name, parquet_bytes(change(index.read_parquet(store, name))))
    return [problem for problem in problems(store) if problem.startswith("clip ")]


def test_a_track_that_is_named_twice_is_found(finished: Dataset, store: LocalStore) -> None:
    found = change_table(store, index.INDEX, lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    assert found == [f"clip {make_clip(0).clip_id}: has a track that is named twice"]


def test_a_clip_in_two_shards_is_found(finished: Dataset, store: LocalStore) -> None:
    def second_track_elsewhere(table: pa.Table) -> pa.Table:
        other = {**table.to_pylist()[0], "track": 1, "file": table.to_pylist()[2]["file"]}
        return pa.concat_tables([table, pa.Table.from_pylist([other], table.schema)])

    found = change_table(store, index.INDEX, second_track_elsewhere)
    assert found == [f"clip {make_clip(0).clip_id}: is named in two shards"]


def test_a_failure_that_is_named_twice_or_was_made_is_found(finished: Dataset, store: LocalStore) -> None:
    def made_too(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        return pa.Table.from_pylist([*rows, *rows, {**rows[0], "clip_id": make_clip(1).clip_id}], table.schema)

    assert change_table(store, index.FAILURES, made_too) == [
        f"clip {make_clip(1).clip_id}: is both made and failed",
        f"clip {make_clip(3).clip_id}: is named twice by the failures",
    ]


def test_a_clip_that_is_planned_twice_is_found(finished: Dataset, store: LocalStore) -> None:
    index.write_plan(store, [make_clip(number).to_row() for number in (0, 1, 2, 3, 1)])
    found = [problem for problem in problems(store) if problem.startswith("clip ")]
    assert found == [f"clip {make_clip(1).clip_id}: is planned twice"]


def test_a_missing_commit_record_is_named(finished: Dataset, store: LocalStore) -> None:
    store.delete("commits/b2.json")
    assert any(problem.startswith("commits/b2.json: ") for problem in problems(store))


@pytest.mark.parametrize("name", ["notes.txt", "data/stray.parquet"])
def test_foreign_files_are_listed_but_are_no_problem(finished: Dataset, store: LocalStore, name: str) -> None:
    store.replace(name, b"x")
    result = verify(mien.datasets.open(store.root))
    assert (result["ok"], result["foreign"]) == (True, [name])


def test_the_lease_of_a_run_is_not_foreign(finished: Dataset, store: LocalStore) -> None:
    with lease.held(store):
        result = verify(mien.datasets.open(store.root))
    assert (result["problems"], result["foreign"]) == ([], [])
