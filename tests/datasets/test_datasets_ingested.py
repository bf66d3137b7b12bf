import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from buckets import BUCKET
from mien import schema
from mien.datasets import ingested
from mien.datasets.ingested import (
    File,
    Standing,
    mark,
    read_report,
    recorded,
    write_failure,
    write_record,
    write_report,
)
from mien.datasets.links import Item, LinkConfig, Links
from mien.errors import DatasetError
from mien.storage.commit import sum_up
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.local import LocalStore
from mien.storage.uri import Store

LINKS = Links(
    "",
    [
        LinkConfig(url="https://host/a.mp4?sig=c0ffee"),
        LinkConfig(url="https://host/b.mp4", name="the second"),
        LinkConfig(url="https://host/c.zip", path="c"),
        LinkConfig(url="https://host/d.mp4"),
    ],
    None,
)
A, B, C, D = LINKS.items()


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator) -> Store:
    name = f"ingested-{request.node.name}".replace("[", "-").replace("]", "")
    return LocalStore(tmp_path / "out") if request.param == "folder" else GcsStore(f"gs://{BUCKET}/{name}")


def publish(store: Store, name: str, data: bytes) -> File:
    store.replace(name, data)
    return File.of(store.stat(name), sum_up([data]))


def record(store: Store, item: Item, names: list[str], **facts: Any) -> list[File]:
    files = [publish(store, name, name.encode()) for name in names]
    write_record(store, item, files, facts)
    return files


def left(store: Store) -> list[str]:
    return [item.target for item in Standing(store).left(LINKS.items())]


def test_what_is_recorded_and_still_there_is_done(store: Store) -> None:
    assert left(store) == ["a.mp4", "b.mp4", "c", "d.mp4"]
    files = record(store, A, ["a.mp4"])
    record(store, C, ["c/1.mp4", "c/sub/2.mp4"])
    assert left(store) == ["b.mp4", "d.mp4"]
    assert recorded(store, A) == files
    assert recorded(store, B) == []
    assert len(Standing(store)) == 2


def test_a_file_that_is_gone_or_changed_makes_its_item_undone(store: Store) -> None:
    record(store, A, ["a.mp4"])
    record(store, C, ["c/1.mp4", "c/2.mp4"])
    store.delete("c/2.mp4")
    assert left(store) == ["b.mp4", "c", "d.mp4"]
    store.replace("a.mp4", b"A.mp4")  # as long as before
    assert left(store) == ["a.mp4", "b.mp4", "c", "d.mp4"]


def test_a_record_takes_the_place_of_an_older_one_of_its_item_alone(store: Store) -> None:
    record(store, A, ["a.mp4"])
    record(store, B, ["b.mp4"])
    store.replace("a.mp4", b"new")
    write_record(store, A, [File.of(store.stat("a.mp4"), sum_up([b"new"]))], {})
    assert left(store) == ["c", "d.mp4"]
    assert len(list(store.list(ingested.RECORDS))) == 2
    write_record(store, A, [File.of(store.stat("a.mp4"), sum_up([b"new"]))], {})
    assert left(store) == ["c", "d.mp4"]


def test_records_are_not_seen_as_content(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    record(store, A, ["a.mp4"])
    write_failure(store, B, {})
    assert [entry.name for entry in store.list()] == ["a.mp4"]


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"files": [{"name": "x"}]}', b'{"files": 5}'])
def test_a_damaged_record_is_named_with_what_to_do(tmp_path: Path, damage: bytes) -> None:
    store = LocalStore(tmp_path)
    record(store, C, ["c/1.mp4"])
    (entry,) = store.list(ingested.RECORDS)
    store.replace(entry.name, damage)
    with pytest.raises(DatasetError, match=r"-archive\.json: is damaged .*; remove it, and its item is done again"):
        Standing(store)


def test_a_mark_tells_name_size_and_generation() -> None:
    base = File("a", 1, 2, "sha", "crc")
    marks = {
        mark(base),
        *(mark(base._replace(**change)) for change in ({"name": "b"}, {"size_bytes": 3}, {"generation": 4})),
    }
    assert len(marks) == 4
    assert mark(base) == mark(base._replace(sha256="other"))
    assert all(len(text) == 32 for text in marks)


def test_the_report_has_a_row_per_item_in_the_order_of_the_list(store: Store) -> None:
    record(store, C, ["c/1.mp4", "c/2.mp4"], num_left_out=3, sha256="5a", received_bytes=70, seconds=1.5)
    record(store, A, ["a.mp4"], received_bytes=5)
    write_failure(store, B, {"error_type": "DownloadError", "error": "gone", "ended_at": 2.0})
    write_failure(store, A, {"error_type": "DownloadError", "error": "of an earlier run"})
    report = write_report(store, LINKS, "f")
    store_path = store.fetch(ingested.TABLE)
    rows = pq.read_table(store_path).to_pylist()
    assert list(rows[0]) == schema.names(schema.INGESTED)
    assert [(row["number"], row["name"], row["status"]) for row in rows] == [
        (1, "a.mp4", "done"),
        (2, "the second", "failed"),
        (3, "c.zip", "done"),
        (4, "d.mp4", "open"),
    ]
    assert rows[0]["url"] == "https://host/a.mp4?..."
    assert (rows[0]["error"], rows[1]["error"]) == ("", "gone")
    wanted = {"num_files": 2, "num_left_out": 3, "size_bytes": 14, "sha256": "5a", "received_bytes": 70, "seconds": 1.5}
    assert wanted.items() <= rows[2].items()
    assert (report.num_items, report.num_done, report.num_failed, report.num_open) == (4, 2, 1, 1)
    assert (report.num_files, report.size_bytes, report.received_bytes) == (3, 19, 75)
    assert [failure["number"] for failure in report.failures] == [2]
    assert read_report(store) == report
    for entry in [*store.list(), *store.list(ingested.RECORDS), *store.list(ingested.FAILED)]:
        assert b"c0ffee" not in store.read(entry.name), entry.name


def test_a_report_that_is_none_of_ours_is_none(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert read_report(store) is None
    for text in ("{", "[]", json.dumps({"path": "x"})):
        store.replace(ingested.REPORT, text.encode())
        assert read_report(store) is None


def test_many_items_are_looked_up_by_sorted_keys(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    links = Links("", [LinkConfig(url=f"https://host/{number}.mp4") for number in range(60)], None)
    items = list(links.items())
    for item in items[::3]:
        record(store, item, [item.target])
    os.utime(tmp_path / "0.mp4", (1, 1))
    standing = Standing(store)
    undone = [item for item in items if item.number % 3 != 1 or item.number == 1]
    assert list(standing.left(iter(items))) == undone
    assert all(standing.record_name(item) is None for item in undone)
    assert standing.record_name(items[3]) is not None
