import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from buckets import BUCKET, failing
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.local import LocalStore
from mien.storage.rights import free_gb, try_rights

NAMES = ["auth", "list", "write", "read", "delete"]
NOBODY = 65534


def states(store: LocalStore | GcsStore) -> dict[str, str]:
    return {right.name: right.state for right in try_rights(store)}


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder below which rights alone decide, whoever runs the tests."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "locked"
        folder.mkdir(mode=0o555)
        was_root = not os.geteuid()
        if was_root:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if was_root:
                os.seteuid(0)


def test_a_folder_that_is_not_there_yet_gives_every_right_and_keeps_no_probe(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "new" / "folder")
    assert states(store) == dict.fromkeys(NAMES, "ok")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_may_not_be_written_is_told_and_what_follows_is_not_tried(locked: Path) -> None:
    found = {right.name: right for right in try_rights(LocalStore(locked))}
    assert [found[name].state for name in NAMES] == ["ok", "ok", "missing", "untried", "untried"]
    assert "permission denied; check the owner and rights" in found["write"].found


def test_a_bucket_gives_every_right_and_keeps_no_probe(emulator: Emulator) -> None:
    store = GcsStore(f"gs://{BUCKET}/rights")
    assert states(store) == dict.fromkeys(NAMES, "ok")
    assert list(store.list()) == []


@pytest.mark.parametrize(
    ("match", "missing"),
    [
        ("GET /storage/v1/b/[^/]*/o\\?", ["list"]),
        ("POST .*upload", ["write"]),
        ("GET .*alt=media", ["read"]),
        ("DELETE .*", ["delete"]),
    ],
)
def test_each_right_that_a_bucket_refuses_is_told_by_itself(emulator: Emulator, match: str, missing: list[str]) -> None:
    with failing(emulator, match, "status:403", 100):
        found = try_rights(GcsStore(f"gs://{BUCKET}/rights"))
    assert [right.name for right in found if right.state == "missing"] == missing
    (right,) = (right for right in found if right.state == "missing")
    assert "permission denied" in right.found
    assert "grant the role storage.objectUser" in right.found


def test_a_bucket_that_is_not_there_is_told(emulator: Emulator) -> None:
    found = states(GcsStore("gs://no-such-bucket/x"))
    assert found["list"] == found["write"] == "missing"


def test_free_space_is_that_of_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert free_gb(str(tmp_path / "not" / "there")) == pytest.approx(free_gb(str(tmp_path)), rel=0.05)
