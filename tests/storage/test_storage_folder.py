"""A folder under its name: whole or not at all, on a disk and in a bucket."""

from pathlib import Path

import pytest

from buckets import BUCKET
from mien.errors import StorageError
from mien.storage.emulator import Emulator
from mien.storage.faulty import Fault, FaultyStore
from mien.storage.folder import has, publish_folder
from mien.storage.uri import Store, open_store


@pytest.fixture(params=["disk", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator) -> Store:
    return open_store(str(tmp_path / "out") if request.param == "disk" else f"gs://{BUCKET}/{tmp_path.name}")


def draft(store: Store, names: str, content: bytes = b"new") -> Path:
    folder = store.scratch() / "draft"
    folder.mkdir()
    for name in names.split():
        (folder / name).write_bytes(content)
    return folder


def listed(store: Store) -> dict[str, bytes]:
    return {entry.name: store.read(entry.name) for entry in store.list("a/b/")}


def test_a_folder_comes_whole_and_takes_the_place_of_another(store: Store) -> None:
    publish_folder(store, draft(store, "1.jpg 2.jpg list", b"old"), "a/b/video", "list")
    publish_folder(store, draft(store, "2.jpg 3.jpg list"), "a/b/video", "list")
    assert listed(store) == dict.fromkeys((f"a/b/video/{name}" for name in ("2.jpg", "3.jpg", "list")), b"new")


def test_a_neighbour_that_begins_alike_is_left_alone(store: Store) -> None:
    publish_folder(store, draft(store, "1.jpg list", b"old"), "a/b/video2", "list")
    publish_folder(store, draft(store, "1.jpg list"), "a/b/video", "list")
    assert set(listed(store).values()) == {b"old", b"new"}
    assert len(listed(store)) == 4


@pytest.mark.parametrize("failing", ["1.jpg", "2.jpg", "list"])
def test_a_bucket_that_fails_half_way_keeps_nothing_of_it(tmp_path: Path, emulator: Emulator, failing: str) -> None:
    whole = open_store(f"gs://{BUCKET}/{tmp_path.name}")
    faulty = FaultyStore(
        whole,
        lambda method, name: Fault.REFUSED if (method, name.endswith(failing)) == ("replace_file", True) else None,
    )
    with pytest.raises(StorageError, match="connection reset"):
        publish_folder(faulty, draft(whole, "1.jpg 2.jpg list"), "a/b/video", "list")
    assert listed(whole) == {}


def test_the_list_is_gone_first_and_comes_last(tmp_path: Path, emulator: Emulator) -> None:
    asked = list[tuple[str, str]]()
    whole = open_store(f"gs://{BUCKET}/{tmp_path.name}")
    faulty = FaultyStore(whole, lambda method, name: asked.append((method, name)))
    publish_folder(faulty, draft(whole, "z.jpg a.jpg list"), "v", "list")
    assert asked[0] == ("delete", "v/list")
    assert [name for method, name in asked if method == "replace_file"] == ["v/a.jpg", "v/z.jpg", "v/list"]


def test_what_is_in_the_way_is_told(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "out"))
    store.put_new("a", b"a file")
    with pytest.raises(StorageError, match=r"out/a/b: "):
        publish_folder(store, draft(store, "1.jpg list"), "a/b", "list")


def test_a_name_is_there_or_not(store: Store) -> None:
    store.put_new("a/b/one.wav", b"1")
    store.put_new("a/b/one.wav2", b"1")
    assert has(store, "a/b/one.wav")
    assert not has(store, "a/b/one.wa")
    assert not has(store, "a/b")
    assert not has(store, "a/c")
