import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import pytest

from mien.errors import CommitUnknown, DatasetError, StorageError
from mien.storage.commit import commit, digest, first_commit, new_write_id, read_commits, sum_up
from mien.storage.local import LocalStore

RECORD = {"files": [], "samples": [], "failures": []}


class FaultyStore(LocalStore):
    """Loses the reply of a put, before or after it took effect, and can refuse to be read."""

    def __init__(self, root: Path, *, applies: bool, readable: bool = True) -> None:
        super().__init__(root)
        self._applies, self._readable = applies, readable

    def put_new(self, name: str, data: bytes) -> None:
        if self._applies:
            super().put_new(name, data)
        raise StorageError(f"{name}: connection reset")

    def read(self, name: str) -> bytes:
        if not self._readable:
            raise StorageError(f"{name}: connection reset")
        return super().read(name)


def test_the_first_of_two_attempts_stands(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert commit(store, "s", "first", RECORD) is True
    assert commit(store, "s", "second", RECORD) is False
    assert [record["write_id"] for record in read_commits(store)] == ["first"]


def test_a_retry_of_the_same_attempt_is_still_its_own(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    commit(store, "s", "mine", RECORD)
    assert commit(store, "s", "mine", RECORD) is True


def test_a_lost_reply_is_read_back_as_success(tmp_path: Path) -> None:
    assert commit(FaultyStore(tmp_path, applies=True), "s", "mine", RECORD) is True


def test_an_error_before_the_write_stays_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="connection reset"):
        commit(FaultyStore(tmp_path, applies=False), "s", "mine", RECORD)


def test_an_error_that_cannot_be_settled_is_unknown_and_deletes_nothing(tmp_path: Path) -> None:
    with pytest.raises(CommitUnknown, match="resumes"):
        commit(FaultyStore(tmp_path, applies=True, readable=False), "s", "mine", RECORD)
    assert [record["write_id"] for record in read_commits(LocalStore(tmp_path))] == ["mine"]


@pytest.mark.parametrize("damage", [lambda text: text[:-5], lambda _: "[]", lambda _: json.dumps({"write_id": "x"})])
def test_a_damaged_record_is_named(tmp_path: Path, damage: Callable[[str], str]) -> None:
    store = LocalStore(tmp_path)
    commit(store, "s", "mine", RECORD)
    store.replace("commits/s.json", damage(store.read("commits/s.json").decode()).encode())
    with pytest.raises(DatasetError, match=r"commits/s\.json"):
        list(read_commits(store))


class Listing(LocalStore):
    """Remembers what was read, and knows how many threads wait in it at once."""

    def __init__(self, root: Path, num_together: int) -> None:
        super().__init__(root)
        self.names = list[str]()
        self._together = threading.Barrier(num_together)

    def read(self, name: str) -> bytes:
        self.names.append(name)
        self._together.wait(timeout=30)
        return super().read(name)


def test_records_are_read_together_and_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in reversed(range(8)):
        commit(LocalStore(tmp_path), f"s{number}", f"w{number}", RECORD)
    store = Listing(tmp_path, num_together=8)
    assert [record["write_id"] for record in read_commits(store)] == [f"w{number}" for number in range(8)]
    assert sorted(store.names) == [f"commits/s{number}.json" for number in range(8)], "each once"
    rest = Listing(tmp_path, num_together=1)
    shards = [record["shard"] for record in read_commits(rest, {"commits/s0.json", "commits/s5.json"})]
    assert shards == ["s1", "s2", "s3", "s4", "s6", "s7"]
    assert "commits/s0.json" not in rest.names


def test_the_first_record_is_read_alone(tmp_path: Path) -> None:
    assert first_commit(LocalStore(tmp_path)) is None
    for number in range(3):
        commit(LocalStore(tmp_path), f"s{number}", f"w{number}", RECORD)
    store = Listing(tmp_path, num_together=1)
    assert (first_commit(store) or {})["write_id"] == "w0"
    assert store.names == ["commits/s0.json"]


def test_digest_agrees_with_the_reference_sums(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "x").write_bytes(data)
    found = digest(tmp_path / "x")
    assert found.size_bytes == len(data)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.crc32c == f"{google_crc32c.value(data):08x}"
    assert sum_up([data[:7], b"", data[7:]]) == found


def test_crc32c_is_the_published_check_value(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"123456789")
    assert digest(tmp_path / "x").crc32c == "e3069283"  # RFC 3720, appendix B.4, and the usual check string


def test_write_ids_differ() -> None:
    assert len({new_write_id() for _ in range(1000)}) == 1000
