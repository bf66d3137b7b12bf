"""The commit protocol through the real client, each fault by itself and always at the same request of every shard."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from buckets import BUCKET
from mien.errors import CommitUnknown
from mien.storage.commit import DATA, FOLDER, publish_shard, read_commits
from mien.storage.emulator import Emulator
from mien.storage.local import LocalStore
from mien.storage.uri import Store, open_store

UPLOAD = "POST /upload"
NUM_SHARDS = [4, pytest.param(300, marks=pytest.mark.slow)]
NUM_RACING = 3
NUM_UNKNOWN = [2, pytest.param(20, marks=pytest.mark.slow)]


@pytest.fixture
def store(emulator: Emulator, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A prefix of its own, and a client that tries again soon; no fault is left behind."""
    monkeypatch.setenv("MIEN_RETRY_S", "2")
    yield open_store(f"gs://{BUCKET}/{request.node.name.partition('[')[0]}-{request.node.callspec.indices}".lower())
    emulator.faults([])


def rule(match: str, fault: str, skip: int = 0, times: int = 1) -> dict[str, Any]:
    return {"match": match, "fault": fault, "skip": skip, "times": times}


def attempt(store: Store, shard: str, write_id: str, folder: Path) -> bool:
    """One attempt at a shard of one clip, whose rows are the shard's name."""
    draft = folder / f"{write_id}.bin"
    draft.write_bytes(shard.encode())
    return publish_shard(store, shard, write_id, draft, {"samples": [{"clip_id": shard}], "failures": []})


def owners(store: Store) -> dict[str, str]:
    """Shard -> write id of its record; each record names one file, which is there with its rows, and no other is."""
    records = list(read_commits(store))
    assert [store.read(record["files"][0]["name"]) for record in records] == [r["shard"].encode() for r in records]
    assert {entry.name for entry in store.list(DATA)} == {record["files"][0]["name"] for record in records}
    return {record["shard"]: record["write_id"] for record in records}


def numbered(num_shards: int) -> list[str]:
    return [f"s{number:04d}" for number in range(num_shards)]


@pytest.mark.parametrize("num_shards", NUM_SHARDS)
@pytest.mark.parametrize("request_number", [0, 1], ids=["data", "commit"])
@pytest.mark.parametrize("fault", ["reset", "lost_ack"])
def test_every_shard_is_the_own_though_a_reply_to_each_was_lost(
    emulator: Emulator, store: Store, tmp_path: Path, num_shards: int, request_number: int, fault: str
) -> None:
    """The client asks again by itself; after a lost reply it meets its own write, and must not call that another's."""
    emulator.reset_traffic()
    for shard in numbered(num_shards):
        emulator.faults([rule(UPLOAD, fault, skip=request_number)])
        assert attempt(store, shard, f"{shard}mine", tmp_path) is True
        assert [fired["fault"] for fired in emulator.fired()] == [fault]
    assert owners(store) == {shard: f"{shard}mine" for shard in numbered(num_shards)}
    uploads = sum(counts.num_requests for kind, counts in emulator.traffic().items() if kind == "objects.insert")
    assert uploads == 3 * num_shards, "data and record, one of them asked for again"


@pytest.mark.parametrize("num_shards", NUM_SHARDS)
@pytest.mark.parametrize("fault", ["reset", "lost_ack"])
def test_a_loser_deletes_its_own_though_the_reply_to_that_was_lost(
    emulator: Emulator, store: Store, tmp_path: Path, num_shards: int, fault: str
) -> None:
    for shard in numbered(num_shards):
        assert attempt(store, shard, f"{shard}first", tmp_path) is True
        emulator.faults([rule("DELETE", fault)])
        assert attempt(store, shard, f"{shard}second", tmp_path) is False
        assert len(emulator.fired()) == 1
    assert owners(store) == {shard: f"{shard}first" for shard in numbered(num_shards)}


@pytest.mark.parametrize("num_shards", NUM_UNKNOWN)
@pytest.mark.parametrize("is_done", [True, False], ids=["lost_ack", "reset"])
def test_a_commit_that_stays_without_an_answer_is_unknown_deletes_nothing_and_is_resumed(
    emulator: Emulator, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_shards: int, is_done: bool
) -> None:
    monkeypatch.setenv("MIEN_RETRY_S", "0.3")
    for shard in numbered(num_shards):
        silence = "lost_ack" if is_done else "reset"
        emulator.faults([rule(UPLOAD, silence, skip=1, times=10_000), rule("GET", "reset", times=10_000)])
        with pytest.raises(CommitUnknown, match=rf"commits/{shard}\.json: cannot be read back .*it resumes"):
            attempt(store, shard, f"{shard}first", tmp_path)
        assert not [fired for fired in emulator.fired() if fired["request"].startswith("DELETE")]
    emulator.faults([])
    monkeypatch.setenv("MIEN_RETRY_S", "10")
    assert len(list(store.list(DATA))) == num_shards, "nothing was deleted"
    assert len(list(store.list(FOLDER))) == (num_shards if is_done else 0)
    for shard in numbered(num_shards):
        assert attempt(store, shard, f"{shard}second", tmp_path) is not is_done
    found = {record["shard"]: record["write_id"] for record in read_commits(store)}
    assert found == {shard: f"{shard}{'first' if is_done else 'second'}" for shard in numbered(num_shards)}


def race(store: Store, shard: str, pool: ThreadPoolExecutor, folder: Path) -> list[bool]:
    """Attempts at one shard that are let loose at once."""
    start = threading.Barrier(NUM_RACING)

    def run(number: int) -> bool:
        start.wait()
        return attempt(store, shard, f"{shard}attempt{number}", folder)

    return list(pool.map(run, range(NUM_RACING)))


@pytest.mark.parametrize("num_shards", NUM_SHARDS)
@pytest.mark.parametrize("kind", ["local", "bucket"])
def test_of_three_attempts_at_once_one_commits_and_the_others_clean_up(
    store: Store, tmp_path: Path, num_shards: int, kind: str
) -> None:
    place: Store = store if kind == "bucket" else LocalStore(tmp_path / "root")
    winners = dict[str, str]()
    with ThreadPoolExecutor(NUM_RACING) as pool:
        for shard in numbered(num_shards):
            results = race(place, shard, pool, tmp_path)
            assert sorted(results) == [False, False, True]
            winners[shard] = f"{shard}attempt{results.index(True)}"
    assert owners(place) == winners
