import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mien.errors import AlreadyExists, NoSpace, StorageError
from mien.storage.local import LocalStore, translated


def visible(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_of_racing_writers_exactly_one_makes_the_name(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)

    def attempt(number: int) -> bool:
        try:
            store.put_new("commits/a.json", str(number).encode())
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(attempt, range(64)))
    assert sum(won) == 1
    assert store.read("commits/a.json") == str(won.index(True)).encode()
    assert visible(tmp_path) == ["commits/a.json"]


def test_replace_leaves_no_temporary_file(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.replace("x", b"1")
    store.replace("x", b"2")
    assert (store.read("x"), visible(tmp_path)) == (b"2", ["x"])


@pytest.mark.parametrize("place", ["out/.scratch", "elsewhere"])
def test_a_finished_file_replaces_what_is_there(tmp_path: Path, place: str) -> None:
    store, draft = LocalStore(tmp_path / "out"), tmp_path / place / "draft"
    for content in (b"first", b"second"):
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        store.replace_file(draft, "folder/name")
        assert store.read("folder/name") == content
    assert [entry.name for entry in store.list()] == ["folder/name"]
    assert [path.name for path in (tmp_path / "out" / "folder").iterdir()] == ["name"]


def test_size_and_time_of_one_file_are_those_of_the_listing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.replace("folder/x", b"123")
    assert [store.stat("folder/x")] == list(store.list())
    with pytest.raises(StorageError, match=r"folder/y: does not exist"):
        store.stat("folder/y")


def test_a_file_of_another_file_system_is_published_whole_and_once(tmp_path: Path, small_disk: Any) -> None:
    store, draft = LocalStore(tmp_path / "out"), small_disk("size=8m") / "draft"
    draft.write_bytes(bytes(range(256)) * 8192)
    store.publish(draft, "data/a")
    assert store.read("data/a") == draft.read_bytes()
    with pytest.raises(AlreadyExists):
        store.publish(draft, "data/a")
    assert visible(tmp_path / "out") == ["data/a"]


def test_a_full_disk_is_a_class_of_its_own(tmp_path: Path) -> None:
    for number, kind in ((errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EACCES, StorageError)):
        with pytest.raises(StorageError) as raised, translated(tmp_path):
            raise OSError(number, "x")
        assert type(raised.value) is kind


def test_publish_gives_a_name_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    draft = store.scratch() / "draft"
    draft.write_bytes(b"shard")
    store.publish(draft, "data/a.h5")
    assert store.fetch("data/a.h5").read_bytes() == b"shard"
    with pytest.raises(AlreadyExists, match=r"data/a\.h5"):
        store.publish(draft, "data/a.h5")


def test_listing_is_sorted_and_shows_neither_scratch_nor_hidden_files(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    (store.scratch() / "half").write_bytes(b"x")
    for name in ("b/2", "a", "b/10", ".hidden"):
        store.replace(name, b"")
    assert [entry.name for entry in store.list()] == ["a", "b/10", "b/2"]
    assert [entry.name for entry in store.list("b/")] == ["b/10", "b/2"]
    assert [entry.name for entry in store.list("b/1")] == ["b/10"]


def test_a_changed_file_has_another_generation(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.replace("x", b"1")
    first = next(iter(store.list()))
    os.utime(tmp_path / "x", ns=(1, first.generation + 1))
    assert next(iter(store.list())).generation == first.generation + 1


def test_deleting_twice_is_no_error(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.replace("x", b"1")
    store.delete("x")
    store.delete("x")
    assert visible(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only"), (errno.EACCES, "permission denied")],
)
def test_errors_name_the_path_and_the_remedy(number: int, words: str) -> None:
    with pytest.raises(StorageError, match=f"^/out/x: .*{words}"), translated("/out/x"):
        raise OSError(number, os.strerror(number))


def test_a_file_in_place_of_the_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("not a folder")
    with pytest.raises(StorageError, match="out"):
        LocalStore(tmp_path / "out").put_new("plan/0", b"x")


def test_a_file_system_that_takes_no_folders_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"^/proc/mien/x: permission denied"):
        LocalStore(Path("/proc/mien")).replace("x", b"")


def test_reading_what_is_not_there_names_it(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"index\.parquet: does not exist"):
        LocalStore(tmp_path).fetch("index.parquet")
