import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import pytest

from mien.errors import CommitUnknown, DatasetError, StorageError
from mien.storage.commit import (
    close_abandoned,
    commit,
    data_name,
    digest,
    finish,
    first_commit,
    new_write_id,
    publish_shard,
    read_commits,
    read_completion,
    remove_orphans,
    sum_up,
)
from mien.storage.faulty import Fault, FaultyStore
from mien.storage.local import LocalStore

RECORD = {"files": [], "samples": [], "failures": []}
ROWS = {"samples": [{"clip_id": "x"}], "failures": []}


def failing(root: Path, **faults: Fault) -> FaultyStore:
    """Every request of these methods meets its fault."""
    return FaultyStore(LocalStore(root), lambda method, _: faults.get(method))


def names(store: LocalStore, prefix: str = "data/") -> list[str]:
    return [entry.name for entry in store.list(prefix)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "root")


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    (tmp_path / "draft.h5").write_bytes(b"rows")
    return tmp_path / "draft.h5"


def test_the_first_of_two_attempts_stands(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert commit(store, "s", "first", RECORD) is True
    assert commit(store, "s", "second", RECORD) is False
    assert [record["write_id"] for record in read_commits(store)] == ["first"]


def test_a_retry_of_the_same_attempt_is_still_its_own(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    commit(store, "s", "mine", RECORD)
    assert commit(store, "s", "mine", RECORD) is True


@pytest.mark.parametrize("fault", [Fault.LOST_REPLY, Fault.REPEATED])
def test_a_lost_reply_is_read_back_as_success(tmp_path: Path, fault: Fault) -> None:
    assert commit(failing(tmp_path, put_new=fault), "s", "mine", RECORD) is True


def test_an_error_before_the_write_stays_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="connection reset"):
        commit(failing(tmp_path, put_new=Fault.REFUSED), "s", "mine", RECORD)


@pytest.mark.parametrize("question", ["read", "list"])
def test_an_error_that_cannot_be_settled_is_unknown_and_deletes_nothing(
    store: LocalStore, draft: Path, question: str
) -> None:
    faulty = failing(store.root, put_new=Fault.LOST_REPLY, **{question: Fault.REFUSED})
    with pytest.raises(CommitUnknown, match=r"commits/s\.json: cannot be read back \(.*connection reset\).*resumes"):
        publish_shard(faulty, "s", "mine", draft, ROWS)
    assert names(store) == ["data/s-mine.h5"]
    assert publish_shard(store, "s", "mine too", draft, ROWS) is False, "it was committed"


def test_a_record_that_may_land_late_keeps_its_data(store: LocalStore, draft: Path) -> None:
    faulty = failing(store.root, put_new=Fault.LATE)
    with pytest.raises(StorageError, match="connection reset"):
        publish_shard(faulty, "s", "mine", draft, ROWS)
    assert names(store, "commits/") == []
    faulty.land()
    (record,) = read_commits(store)
    assert [file["name"] for file in record["files"]] == names(store)


def test_a_shard_is_its_data_and_their_sums(store: LocalStore, draft: Path) -> None:
    assert publish_shard(store, "s", "mine", draft, ROWS) is True
    (record,) = read_commits(store)
    assert record == {"shard": "s", "write_id": "mine", **ROWS, "files": [{"name": "data/s-mine.h5", **sums(draft)}]}
    assert store.read("data/s-mine.h5") == b"rows"


def sums(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    return {
        "size_bytes": len(data),
        "crc32c": f"{google_crc32c.value(data):08x}",
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def test_a_shard_of_failures_alone_has_no_data(store: LocalStore) -> None:
    assert publish_shard(store, "s", "mine", None, {"samples": [], "failures": [{"clip_id": "x"}]}) is True
    assert publish_shard(store, "s", "other", None, ROWS) is False
    assert names(store, "") == ["commits/s.json"]


def test_a_loser_removes_its_data(store: LocalStore, draft: Path) -> None:
    publish_shard(store, "s", "first", draft, ROWS)
    assert publish_shard(store, "s", "second", draft, ROWS) is False
    assert names(store) == ["data/s-first.h5"]


def test_files_beside_the_data_share_its_fate(store: LocalStore, draft: Path) -> None:
    sound = draft.with_name("sound.flac")
    sound.write_bytes(b"sound")
    for write_id, is_first in (("first", True), ("second", False)):
        beside = {f"data/s-{write_id}-clip.flac": sound}
        assert publish_shard(store, "s", write_id, draft, ROWS, beside) is is_first
    assert names(store) == ["data/s-first-clip.flac", "data/s-first.h5"]
    (record,) = read_commits(store)
    files = {file["name"]: file["sha256"] for file in record["files"]}
    assert files == {"data/s-first.h5": sums(draft)["sha256"], "data/s-first-clip.flac": sums(sound)["sha256"]}
    with pytest.raises(ValueError, match="is named by data_name"):
        publish_shard(store, "t", "third", draft, ROWS, {"data/other.flac": sound})


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.LOST_REPLY, Fault.LATE])
def test_a_loser_that_cannot_delete_has_lost_all_the_same(store: LocalStore, draft: Path, fault: Fault) -> None:
    publish_shard(store, "s", "first", draft, ROWS)
    assert publish_shard(failing(store.root, delete=fault), "s", "second", draft, ROWS) is False


def test_a_file_that_the_clean_up_would_misjudge_is_refused(store: LocalStore) -> None:
    with pytest.raises(ValueError, match=r"data/x\.h5: a file of shard s is named by data_name"):
        commit(store, "s", "mine", {**RECORD, "files": [{"name": "data/x.h5"}]})
    commit(store, "s", "mine", {**RECORD, "files": [{"name": data_name("s", "mine", ".h5")}]})


def end(store: LocalStore) -> None:
    """Finish a dataset that has one table."""

    def write_tables() -> bytes:
        store.replace("index", b"rows")
        files = [file for record in read_commits(store) for file in record["files"]]
        return json.dumps(
            {"files": [*files, {"name": "index", "sha256": hashlib.sha256(b"rows").hexdigest()}]}
        ).encode()

    finish(store, write_tables)


def test_the_end_removes_what_lost_and_keeps_what_won(store: LocalStore, draft: Path) -> None:
    publish_shard(store, "s", "first", draft, ROWS)
    for name in ("data/s-second.h5", "data/killed-attempt.h5", "data/stray.h5"):
        store.replace(name, b"half")
    end(store)
    assert names(store) == ["data/s-first.h5"]
    assert [record["write_id"] for record in read_commits(store)] == ["first"]


def test_an_attempt_that_was_thought_dead_comes_too_late(store: LocalStore, draft: Path) -> None:
    store.publish(draft, data_name("old", "dead", ".h5"))
    publish_shard(store, "s", "first", draft, ROWS)
    end(store)
    assert commit(store, "old", "dead", {**RECORD, "files": [{"name": "data/old-dead.h5"}]}) is False
    assert [record["shard"] for record in read_commits(store)] == ["s"]
    first = first_commit(store)
    assert first is not None
    assert first["shard"] == "s", "a closed shard made nothing"


def test_a_shard_that_appears_during_the_end_stays(store: LocalStore, draft: Path) -> None:
    publish_shard(store, "s", "first", draft, ROWS)
    end(store)
    publish_shard(store, "late", "second", draft, ROWS)
    store.publish(draft, "data/later-third.h5")
    remove_orphans(store)
    assert names(store) == ["data/late-second.h5", "data/later-third.h5", "data/s-first.h5"]


def test_nothing_is_removed_before_the_completion_record(store: LocalStore, draft: Path) -> None:
    publish_shard(store, "s", "first", draft, ROWS)
    store.publish(draft, "data/s-second.h5")
    close_abandoned(store)
    remove_orphans(store)
    assert len(names(store)) == 2


def test_an_end_that_cannot_clean_up_says_so_of_a_complete_dataset(store: LocalStore, draft: Path) -> None:
    store.publish(draft, "data/s-killed.h5")
    with pytest.raises(StorageError, match="killed"):
        end(failing(store.root, delete=Fault.REFUSED))
    assert read_completion(store) is not None
    end(store)
    assert names(store) == []


@pytest.mark.parametrize("text", [b"{", b"[1]", b"null"])
def test_a_damaged_completion_record_is_named(store: LocalStore, text: bytes) -> None:
    store.replace("mien.json", text)
    with pytest.raises(DatasetError, match=r"mien\.json: is damaged"):
        read_completion(store)


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
