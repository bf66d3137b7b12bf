import os
from pathlib import Path
from typing import get_args

import pytest

from buckets import BUCKET, failing
from mien.errors import StorageError
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.source import Way, opened
from mien.storage.uri import Entry

WAYS = get_args(Way)


def test_a_local_source_is_read_in_place_while_it_is_as_planned(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"frames")
    planned = Entry("", 6, path.stat().st_mtime_ns)
    for way in WAYS:
        with opened(str(path), planned, way) as source:
            assert source == str(path)
    os.utime(path, ns=(0, planned.generation + 1))
    with pytest.raises(StorageError, match=r"a\.mp4: has changed since it was planned"), opened(str(path), planned):
        pass
    path.unlink()
    with pytest.raises(StorageError, match=r"a\.mp4: does not exist"), opened(str(path), planned):
        pass


@pytest.mark.parametrize("way", WAYS)
def test_an_object_is_a_seekable_file_that_goes_by_its_place(emulator: Emulator, way: Way) -> None:
    uri, data = f"gs://{BUCKET}/source/{way}.mp4", os.urandom(300_000)
    store = GcsStore(f"gs://{BUCKET}/source")
    store.replace(f"{way}.mp4", data)
    with opened(uri, store.stat(f"{way}.mp4"), way) as file:
        assert not isinstance(file, str)
        assert file.name == uri
        assert file.read(10) == data[:10]
        file.seek(-10, os.SEEK_END)
        assert file.read() == data[-10:]


def test_the_local_copy_of_a_whole_object_goes_at_the_end(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = GcsStore(f"gs://{BUCKET}/source")
    store.replace("copy.mp4", b"frames")
    with opened(f"{store.uri}/copy.mp4", store.stat("copy.mp4"), "whole"):
        assert [path.name for path in tmp_path.rglob("source")] == ["source"]
    assert list(tmp_path.iterdir()) == []


def test_a_bit_that_flips_in_a_range_is_seen_fifty_times_of_fifty(emulator: Emulator) -> None:
    data = os.urandom(4_000_000)
    store = GcsStore(f"gs://{BUCKET}/source")
    store.replace("flips.mp4", data)
    entry = store.stat("flips.mp4")
    for number in range(50):
        with (
            failing(emulator, "GET .*flips.*alt=media", "flip"),
            opened(f"{store.uri}/flips.mp4", entry, "checked") as file,
        ):
            assert not isinstance(file, str)
            file.seek(number * 70_000)
            assert file.read(50_000) == data[number * 70_000 :][:50_000]


def test_a_range_that_never_comes_twice_alike_is_told(emulator: Emulator) -> None:
    store = GcsStore(f"gs://{BUCKET}/source")
    store.replace("never.mp4", bytes(300_000))
    with (
        failing(emulator, "GET .*never.*alt=media", "flip", 100),
        opened(f"{store.uri}/never.mp4", store.stat("never.mp4"), "checked") as file,
    ):
        assert not isinstance(file, str)
        with pytest.raises(StorageError, match=r"never\.mp4: bytes 0 to \d+ came differently 6 times"):
            file.read(1000)
