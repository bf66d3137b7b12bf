import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien.errors import StorageError
from mien.storage.emulator.blob import Draft, Key
from mien.storage.emulator.disk import Folder
from mien.storage.emulator.listing import Listing
from mien.storage.emulator.messages import Refusal
from mien.storage.emulator.objects import Store
from mien.storage.emulator.preconditions import Preconditions

HOSTILE = ["../../../outside", "/etc/outside", "a\0b", "%2e%2e/x", "<script>", "x" * 1024, ".", "\u202egpj.exe"]


Open = Callable[[Path], Store]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens a folder as a server does; it is released at the end of the test, or when the test closes it."""
    with contextlib.ExitStack() as stack:

        def opened(root: Path) -> Store:
            return stack.enter_context(contextlib.closing(Store(Folder(root))))

        yield opened


def put(store: Store, name: str, data: bytes) -> int:
    return store.insert(Draft(Key("bucket", name), data, {"metadata": {"k": "é"}})).generation


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_a_restarted_server_has_the_same_objects(opened: Open, tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.create_bucket({"name": "bucket", "location": "EU"})
    for name in ("a", "b", "c"):
        put(store, name, b"old")
    last = put(store, "a", b"new")
    put(store, "empty", b"")
    store.patch(Key("bucket", "b"), lambda before: {**before, "contentType": "a/b"}, Preconditions())
    store.delete(Key("bucket", "c"))
    before = store.list_objects("bucket", Listing())
    store.close()
    store = opened(tmp_path)
    assert store.list_objects("bucket", Listing()) == before
    assert store.bucket("bucket")["location"] == "EU"
    assert {blob.name: bytes(store.read(Key("bucket", blob.name))[1]) for blob in before.blobs} == {
        "a": b"new",
        "b": b"old",
        "empty": b"",
    }
    assert put(store, "a", b"newer") > last


def test_generations_grow_though_the_clock_went_back(opened: Open, tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.create_bucket({"name": "bucket"})
    put(store, "x", b"1")
    store.close()
    (path,) = (tmp_path / "objects").iterdir()
    in_the_future = 1 << 62
    path.write_text(json.dumps(json.loads(path.read_text()) | {"generation": in_the_future}))
    assert put(opened(tmp_path), "x", b"2") == in_the_future + 1


def test_a_deleted_bucket_stays_deleted(opened: Open, tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.create_bucket({"name": "bucket"})
    store.delete_bucket("bucket", Preconditions())
    store.close()
    assert opened(tmp_path).buckets() == []


def test_no_file_is_named_by_a_client(opened: Open, tmp_path: Path) -> None:
    root = tmp_path / "a" / "b" / "root"
    store = opened(root)
    store.create_bucket({"name": "bucket"})
    for name in HOSTILE:
        if name != ".":
            put(store, name, b"x")
    allowed = set("0123456789abcdef")
    stems = [Path(name).stem for name in files(tmp_path) if not name.endswith("/lock")]
    assert len(stems) == 1 + 2 * (len(HOSTILE) - 1)
    assert all(len(stem) in (32, 64) and set(stem) <= allowed for stem in stems)
    assert all(name.startswith("a/b/root/") for name in files(tmp_path))
    described = hashlib.sha256(b"bucket\0../../../outside").hexdigest()
    assert json.loads((root / "objects" / f"{described}.json").read_text())["name"] == "../../../outside"


def test_replaced_refused_and_deleted_objects_leave_no_bytes(opened: Open, tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.create_bucket({"name": "bucket"})
    for data in (b"1", b"2"):
        put(store, "x", data)
    with pytest.raises(Refusal):
        store.insert(Draft(Key("bucket", "x"), b"3"), Preconditions(generation_match=0))
    assert [path.read_bytes() for path in (tmp_path / "data").iterdir()] == [b"2"]
    store.delete(Key("bucket", "x"))
    assert files(tmp_path) == {"lock", *files_of(tmp_path, "buckets")}


def files_of(root: Path, folder: str) -> set[str]:
    return {f"{folder}/{name}" for name in files(root / folder)}


def test_what_a_killed_server_left_is_cleared(opened: Open, tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.create_bucket({"name": "bucket"})
    put(store, "x", b"1")
    store.close()
    whole = files(tmp_path)
    (tmp_path / "data" / "0123").write_bytes(b"bytes without an object")
    (tmp_path / "objects" / "0123.tmp").write_bytes(b'{"half":')
    opened(tmp_path)
    assert files(tmp_path) == whole


def test_a_reader_keeps_its_generation_on_disk_too(opened: Open, tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.create_bucket({"name": "bucket"})
    put(store, "x", b"1" * 10_000)
    _, data = store.read(Key("bucket", "x"))
    store.delete(Key("bucket", "x"))
    assert bytes(data) == b"1" * 10_000


def test_two_servers_cannot_share_a_folder(opened: Open, tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(StorageError, match=f"{tmp_path}: another emulator uses this folder"):
        opened(tmp_path)
    first.close()


def test_a_folder_that_cannot_be_used_is_told(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        opened(tmp_path / "file")
    (tmp_path / "root" / "objects").mkdir(parents=True)
    (tmp_path / "root" / "objects" / "x.json").write_text("{")
    with pytest.raises(StorageError, match=r"x\.json: is no description"):
        opened(tmp_path / "root")
