import os
from pathlib import Path

import pytest

from buckets import BUCKET
from mien.errors import StorageError
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.source import opened
from mien.storage.uri import Entry


def test_a_local_source_is_read_in_place_while_it_is_as_planned(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"frames")
    planned = Entry("", 6, path.stat().st_mtime_ns)
    for whole in (False, True):
        with opened(str(path), planned, whole=whole) as source:
            assert source == str(path)
    os.utime(path, ns=(0, planned.generation + 1))
    with pytest.raises(StorageError, match=r"a\.mp4: has changed since it was planned"), opened(str(path), planned):
        pass
    path.unlink()
    with pytest.raises(StorageError, match=r"a\.mp4: does not exist"), opened(str(path), planned):
        pass


@pytest.mark.parametrize("whole", [False, True])
def test_an_object_is_a_seekable_file_that_goes_by_its_place(emulator: Emulator, whole: bool) -> None:
    uri, data = f"gs://{BUCKET}/source/{whole}.mp4", os.urandom(300_000)
    store = GcsStore(f"gs://{BUCKET}/source")
    store.replace(f"{whole}.mp4", data)
    with opened(uri, store.stat(f"{whole}.mp4"), whole=whole) as file:
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
    with opened(f"{store.uri}/copy.mp4", store.stat("copy.mp4"), whole=True):
        assert [path.name for path in tmp_path.rglob("source")] == ["source"]
    assert list(tmp_path.iterdir()) == []
