from collections.abc import Callable
from pathlib import Path

import pytest

from mien.errors import AlreadyExists, StorageError
from mien.storage.faulty import Fault, FaultyStore
from mien.storage.local import LocalStore


def faulty(root: Path, *faults: Fault | None) -> FaultyStore:
    """One fault after the other, then none."""
    left = list(faults)
    return FaultyStore(LocalStore(root), lambda *_: left.pop(0) if left else None)


def names(store: FaultyStore) -> list[str]:
    return [entry.name for entry in store.list()]


CHANGES: list[Callable[[FaultyStore, Path], None]] = [
    lambda store, _: store.put_new("x", b"new"),
    lambda store, _: store.replace("x", b"new"),
    lambda store, path: store.publish(path, "x"),
    lambda store, path: store.replace_file(path, "x"),
]


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    (tmp_path / "draft").write_bytes(b"new")
    return tmp_path / "draft"


@pytest.mark.parametrize("change", CHANGES)
def test_a_refused_request_does_nothing(tmp_path: Path, draft: Path, change: Callable[..., None]) -> None:
    store = faulty(tmp_path / "root", Fault.REFUSED)
    with pytest.raises(StorageError, match="x: connection reset"):
        change(store, draft)
    store.land()
    assert names(store) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_lost_reply_is_an_error_of_what_was_done(tmp_path: Path, draft: Path, change: Callable[..., None]) -> None:
    store = faulty(tmp_path / "root", Fault.LOST_REPLY)
    with pytest.raises(StorageError, match="x: connection reset"):
        change(store, draft)
    assert store.read("x") == b"new"


@pytest.mark.parametrize("change", CHANGES)
def test_a_late_request_takes_effect_when_it_lands(tmp_path: Path, draft: Path, change: Callable[..., None]) -> None:
    store = faulty(tmp_path / "root", Fault.LATE)
    with pytest.raises(StorageError, match="x: connection reset"):
        change(store, draft)
    draft.unlink(missing_ok=True)
    assert names(store) == []
    store.land()
    assert store.read("x") == b"new"


def test_a_repeated_request_meets_itself(tmp_path: Path) -> None:
    store = faulty(tmp_path, Fault.REPEATED)
    with pytest.raises(AlreadyExists, match="x: exists already"):
        store.put_new("x", b"new")
    assert store.read("x") == b"new"


@pytest.mark.parametrize("change", CHANGES[1:])
def test_what_can_be_repeated_without_harm_is_done(tmp_path: Path, draft: Path, change: Callable[..., None]) -> None:
    store = faulty(tmp_path / "root", Fault.REPEATED, None, Fault.REPEATED)
    change(store, draft)
    assert store.read("x") == b"new"
    store.delete("x")
    assert names(store) == []


def test_a_late_request_does_not_overwrite_a_write_once_name(tmp_path: Path) -> None:
    store = faulty(tmp_path, Fault.LATE)
    with pytest.raises(StorageError):
        store.put_new("x", b"late")
    store.put_new("x", b"first")
    store.land()
    assert store.read("x") == b"first"


def test_late_requests_do_not_wait_for_ever(tmp_path: Path) -> None:
    store = faulty(tmp_path, *[Fault.LATE] * 6)
    for number in range(6):
        with pytest.raises(StorageError):
            store.put_new(str(number), b"")
    assert names(store) == ["0", "1"], "the oldest first"


def test_a_lost_answer_of_a_question_is_an_error(tmp_path: Path) -> None:
    store = faulty(tmp_path, None, Fault.LOST_REPLY, Fault.LATE, Fault.REFUSED)
    store.replace("x", b"1")
    for ask in (lambda: store.read("x"), lambda: store.fetch("x"), lambda: store.list()):
        with pytest.raises(StorageError, match="connection reset"):
            ask()
    assert (store.read("x"), store.fetch("x"), names(store)) == (b"1", tmp_path / "x", ["x"])


def test_faults_are_counted(tmp_path: Path) -> None:
    store = faulty(tmp_path, Fault.LATE, Fault.REFUSED)
    for _ in range(2):
        with pytest.raises(StorageError):
            store.delete("x")
    assert store.fired == {("delete", Fault.LATE): 1, ("delete", Fault.REFUSED): 1}


def test_the_rest_is_the_store_behind_it(tmp_path: Path) -> None:
    store = faulty(tmp_path / "root")
    assert store.uri == str(tmp_path / "root")
    folder = store.scratch()
    assert folder.is_dir()
    store.clear_scratch()
    assert not folder.exists()
