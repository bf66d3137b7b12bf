import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from mien.datasets.staging import clear, place_of, read_together, stage
from mien.errors import DatasetError
from mien.storage.local import LocalStore

RECORD = "mien.json"
A = "559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd"
"""SHA-256 of the letter A."""


def standing(store: LocalStore) -> dict[str, Any]:
    return dict(json.loads(store.read(RECORD)))


def stage_index(store: LocalStore, record: dict[str, Any], content: bytes) -> None:
    path = store.scratch() / "draft"
    path.write_bytes(content)
    file = {"name": "index.parquet", "sha256": hashlib.sha256(content).hexdigest()}
    stage(store, RECORD, record, {"index.parquet": path}, [file])


def test_other_tables_count_with_the_record_and_the_old_ones_stay(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put_new("index.parquet", b"A")
    record = {"files": [{"name": "index.parquet", "sha256": A}], "source": "x"}
    stage_index(store, record, b"B")
    assert {key: value for key, value in standing(store).items() if key != "tables"} == record
    assert place_of(record, "index.parquet") == "index.parquet"
    assert store.read(place_of(standing(store), "index.parquet")) == b"B"
    assert store.read("index.parquet") == b"A"
    stage_index(store, standing(store), b"A")
    assert store.read(place_of(standing(store), "index.parquet")) == b"A", "staged ones are replaced by new names too"
    clear(store)
    assert [entry.name for entry in store.list()] == ["index.parquet", "mien.json"]


def test_nothing_is_staged_where_nobody_reads_or_nothing_changes(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    stage_index(store, {}, b"A")
    stage_index(store, {"files": [{"name": "index.parquet", "sha256": A}]}, b"A")
    assert list(store.list()) == []


class Changing:
    """Records that follow one another, one with each reading; the last one stays."""

    def __init__(self, *versions: int) -> None:
        self._versions = list(versions)

    def __call__(self) -> dict[str, Any]:
        return {"version": self._versions.pop(0) if len(self._versions) > 1 else self._versions[0]}


def test_what_changed_meanwhile_is_read_again() -> None:
    assert read_together(Changing(1), lambda record: record["version"]) == ({"version": 1}, 1)
    assert read_together(Changing(1, 2), lambda record: record["version"]) == ({"version": 2}, 2)


def test_what_went_away_meanwhile_is_looked_for_again() -> None:
    def tables(record: dict[str, Any]) -> int:
        if record["version"] == 1:
            raise DatasetError("has no staged table")
        return int(record["version"])

    assert read_together(Changing(1, 2), tables) == ({"version": 2}, 2)
    with pytest.raises(DatasetError, match="has no staged table"):
        read_together(Changing(1), tables)


def test_it_does_not_try_for_ever() -> None:
    with pytest.raises(DatasetError, match="open it again"):
        read_together(Changing(*range(100)), lambda _: 0)
