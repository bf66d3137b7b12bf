import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from buckets import BUCKET, failing
from mien.errors import AlreadyExists, StorageError
from mien.storage.commit import commit, digest, read_commits
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore


@pytest.fixture
def store(emulator: Emulator, request: pytest.FixtureRequest) -> GcsStore:
    """A store of its own in a bucket that all tests share."""
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    return GcsStore(f"gs://{BUCKET}/{name}")


def test_an_object_is_created_once_and_replaced_at_will(store: GcsStore) -> None:
    store.put_new("a/x", b"1")
    with pytest.raises(AlreadyExists, match=r"gs://mien-test/.*/a/x: exists already"):
        store.put_new("a/x", b"2")
    assert store.read("a/x") == b"1"
    store.replace("a/x", b"3")
    assert store.read("a/x") == b"3"


def test_listing_is_sorted_relative_and_leaves_out_placeholders_of_folders(store: GcsStore) -> None:
    for name in ("b", "a/2", "a/1", "a/"):
        store.put_new(name, name.encode())
    assert [(entry.name, entry.size_bytes) for entry in store.list()] == [("a/1", 3), ("a/2", 3), ("b", 1)]
    assert [entry.name for entry in store.list("a/2")] == ["a/2"]
    assert [entry.name for entry in store.glob("*/1")] == ["a/1"]
    assert store.stat("b").generation == next(iter(store.list("b"))).generation


def test_deleting_twice_is_deleting_once(store: GcsStore) -> None:
    store.put_new("x", b"1")
    store.delete("x")
    store.delete("x")
    with pytest.raises(StorageError, match="does not exist"):
        store.read("x")


def test_a_file_is_published_under_a_free_name_only(store: GcsStore, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(os.urandom(9 << 20))  # above what goes in one request
    store.publish(path, "data/x")
    assert store.fetch("data/x").read_bytes() == path.read_bytes()
    path.write_bytes(b"other")
    with pytest.raises(AlreadyExists):
        store.publish(path, "data/x")


def test_an_object_is_known_by_size_and_sum(store: GcsStore) -> None:
    store.put_new("x", b"123456789")
    assert store.has("x", 9, "e3069283")  # the check value of CRC-32C
    assert not store.has("x", 9, "00000000")
    assert not store.has("x", 8, "e3069283")
    assert not store.has("y", 9, "e3069283")


def test_a_file_replaces_what_is_there(store: GcsStore, tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (b"first", b"second"):
        path.write_bytes(content)
        store.replace_file(path, "index.parquet")
        assert store.read("index.parquet") == content


def test_commit_records_are_read_together_and_in_order(store: GcsStore) -> None:
    for number in range(40):
        commit(store, f"s{number:02d}", f"w{number}", {"files": [], "samples": [], "failures": []})
    assert [record["write_id"] for record in read_commits(store)] == [f"w{number}" for number in range(40)]


def test_a_local_copy_is_made_once_per_generation(store: GcsStore) -> None:
    store.replace("x.json", b"1")
    first = store.fetch("x.json")
    assert store.fetch("x.json") == first
    assert first.suffix == ".json"
    store.replace("x.json", b"2")
    assert store.fetch("x.json").read_bytes() == b"2"


def test_where_a_disk_has_no_room_for_another_copy_the_older_ones_go(
    store: GcsStore, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("size=1m")
    for number in range(4):
        store.replace(f"{number}", bytes([number]) * 400_000)
    store.replace("large", bytes(2_000_000))
    script = """
import sys
from mien.storage.gcs import GcsStore
store = GcsStore(sys.argv[1])
for number in (0, 1, 2, 3, 0):
    assert store.fetch(str(number)).read_bytes() == bytes([number]) * 400_000
store.fetch("large")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, store.uri],
        env={**os.environ, "TMPDIR": str(disk)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1].startswith(f"mien.errors.NoSpace: {disk}: no space left on the disk")


def test_a_range_is_of_the_generation_that_was_planned(store: GcsStore) -> None:
    store.replace("x", bytes(range(100)))
    generation = store.stat("x").generation
    assert store.read_range("x", 10, 20, generation) == bytes(range(10, 20))
    store.replace("x", bytes(100))
    with pytest.raises(StorageError, match="has changed since it was planned"):
        store.read_range("x", 10, 20, generation)


@pytest.mark.parametrize("fault", ["status:503", "status:429", "status:500", "reset", "lost_ack", "status:401"])
def test_faults_that_pass_are_survived(store: GcsStore, emulator: Emulator, fault: str) -> None:
    store.replace("x", b"1" * 1000)
    with failing(emulator, "GET .*alt=media", fault, 1):
        assert store.read("x") == b"1" * 1000


def test_a_body_that_was_cut_is_read_on(store: GcsStore, emulator: Emulator) -> None:
    data = os.urandom(300_000)
    store.replace("x", data)
    with failing(emulator, "GET .*alt=media", "truncate"):
        assert store.read("x") == data


def test_a_bit_that_flipped_is_never_taken(store: GcsStore, emulator: Emulator) -> None:
    store.replace("x", os.urandom(300_000))
    with failing(emulator, "GET .*alt=media", "flip", 100), pytest.raises(StorageError, match="arrived damaged"):
        store.read("x")


@pytest.mark.parametrize("how", ["read", "download"])
def test_a_bit_that_flipped_in_the_rest_of_a_body_that_was_cut_is_never_taken(
    store: GcsStore, emulator: Emulator, tmp_path: Path, how: str
) -> None:
    data = os.urandom(300_000)
    store.replace("x", data)
    match = "GET .*alt=media"
    emulator.faults([{"match": match, "fault": "truncate"}, {"match": match, "fault": "flip"}])
    try:
        if how == "read":
            assert store.read("x") == data
        else:
            store.download("x", tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() == data
        assert [fault["fault"] for fault in emulator.fired()] == ["truncate", "flip"]
    finally:
        emulator.faults([])


@pytest.mark.parametrize("fault", ["flip", "truncate"])
def test_fifty_damaged_replies_are_asked_for_again(
    store: GcsStore, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("MIEN_RETRY_S", "0.5")  # short waits between two tries
    data = os.urandom(300_000)
    store.replace("x", data)
    for number in range(50):
        with failing(emulator, "GET .*alt=media", fault):
            if number % 2:
                assert store.read("x") == data
            else:
                store.download("x", tmp_path / "copy")
                assert (tmp_path / "copy").read_bytes() == data


def test_an_upload_whose_acknowledgement_was_lost_counts_as_done(
    store: GcsStore, emulator: Emulator, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"frames")
    with failing(emulator, "POST .*upload", "lost_ack", 1):
        store.publish(path, "data/x")
    assert store.read("data/x") == b"frames"


def test_a_write_once_object_whose_acknowledgement_was_lost_looks_taken(store: GcsStore, emulator: Emulator) -> None:
    with (
        failing(emulator, "POST .*upload", "lost_ack", 1),
        pytest.raises(AlreadyExists),
    ):
        store.put_new("x", b"1")
    assert store.read("x") == b"1"


def test_a_bucket_that_is_not_there_is_told_at_once(emulator: Emulator) -> None:
    store = GcsStore("gs://no-such-bucket/x")
    with pytest.raises(StorageError, match="gs://no-such-bucket/x: does not exist"):
        list(store.list())
    assert "unknown region" in store.about()


def test_a_bit_that_turns_in_what_the_service_says_of_an_object_hides_none(emulator: Emulator, tmp_path: Path) -> None:
    store, path = GcsStore(f"gs://{BUCKET}/stated"), tmp_path / "x"
    path.write_bytes(os.urandom(1000))
    store.publish(path, "x")
    content = digest(path)
    for _ in range(60):  # the emulator turns another one each time
        with failing(emulator, "GET .*stated%2Fx", "flip", 1):
            assert store.has("x", content.size_bytes, content.crc32c)
    assert not store.has("x", content.size_bytes + 1, content.crc32c)
    assert not store.has("x", content.size_bytes, "00000000")
    assert not store.has("y", content.size_bytes, content.crc32c)
