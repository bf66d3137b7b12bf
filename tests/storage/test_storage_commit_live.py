"""Racing writers on a store that fails: every shard is committed exactly once, and can be read.

The protocol as production calls it. Attempts race, die at any request and are run again until every shard is committed,
then the run is finished; a reader looks on all the time. The model of the interleavings test is small and complete;
this is large, random and real.
"""

import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from buckets import BUCKET
from mien.errors import DatasetError, StorageError
from mien.storage.commit import (
    DATA,
    FOLDER,
    data_name,
    finish,
    new_write_id,
    publish_shard,
    read_commits,
    read_completion,
)
from mien.storage.emulator import Emulator
from mien.storage.faulty import Fault, FaultyStore
from mien.storage.local import LocalStore
from mien.storage.uri import Store, open_store

NUM_WRITERS = 8
MAX_ROUNDS = 60
MAX_TRIES = 2000
"""Of a command that meets one fault or more each time; faults come to an end."""
LOOK_S = 0.02
NUM_REQUESTS = 4
"""Of an attempt that loses: data, record, read back, delete."""


class Scene(NamedTuple):
    """A store that fails, and how to see what is really there."""

    store: Any
    clean: Store
    calm: Callable[[], int]
    """Ends the faults; returns how many there were."""


class Crash(Exception):
    """The attempt is dead."""


class Mortal:
    """A store whose user dies at one of its requests, before or after it takes effect."""

    def __init__(self, store: Store, dies_at: int | None, *, acts: bool) -> None:
        self._store, self._left, self._acts = store, dies_at, acts

    def __getattr__(self, name: str) -> Any:
        request = getattr(self._store, name)

        def call(*arguments: Any) -> Any:
            if self._left == 0:
                if self._acts:
                    request(*arguments)
                raise Crash
            self._left = None if self._left is None else self._left - 1
            return request(*arguments)

        return call


class Attempt(NamedTuple):
    """One try of one shard."""

    shard: str
    dies_at: int | None = None
    """Number of the request at which it dies, if it does."""
    acts: bool = False
    """Whether that request still takes effect."""


def rows_of(shard: str) -> bytes:
    return f"rows of {shard} ".encode() * 500


def run_attempt(store: Store, attempt: Attempt, folder: Path) -> str:
    write_id = new_write_id()
    draft = folder / f"{write_id}.bin"
    draft.write_bytes(rows_of(attempt.shard))
    samples = [{"clip_id": attempt.shard, "file": data_name(attempt.shard, write_id, ".bin")}]
    mortal: Any = Mortal(store, attempt.dies_at, acts=attempt.acts)
    try:
        won = publish_shard(mortal, attempt.shard, write_id, draft, {"samples": samples, "failures": []})
    except Crash:
        return "crashed"
    except StorageError as error:
        return type(error).__name__
    finally:
        draft.unlink()
    return "won" if won else "lost"


def first_attempts(shards: list[str], rng: random.Random) -> list[Attempt]:
    """Two or three for every shard, in any order; two of six die."""
    deaths = [None, None, *range(NUM_REQUESTS)]
    attempts = [
        Attempt(shard, rng.choice(deaths), rng.random() < 0.5) for shard in shards for _ in range(rng.choice([2, 3]))
    ]
    rng.shuffle(attempts)
    return attempts


def records(store: Store) -> dict[str, tuple[int, bytes]]:
    """Generation and content of every commit record."""
    return {entry.name: (entry.generation, store.read(entry.name)) for entry in store.list(FOLDER)}


def committed(store: Store) -> set[str]:
    return {sample["clip_id"] for record in read_commits(store) for sample in record["samples"]}


def write_all(scene: Scene, shards: list[str], rng: random.Random, folder: Path) -> Counter[str]:
    """Attempts in parallel, then again what is not committed, as a resume does; how they ended."""
    ended, standing = Counter[str](), dict[str, tuple[int, bytes]]()
    attempts = first_attempts(shards, rng)
    with ThreadPoolExecutor(NUM_WRITERS) as pool:
        for _ in range(MAX_ROUNDS):
            ended.update(pool.map(lambda attempt: run_attempt(scene.store, attempt, folder), attempts))
            found = patiently(lambda: records(scene.clean))
            assert standing.items() <= found.items(), "a finished shard was touched"
            standing = found
            done = patiently(lambda: committed(scene.clean))
            attempts = [Attempt(shard) for shard in shards if shard not in done]
            if not attempts:
                return ended
    raise AssertionError(f"{len(attempts)} shards are not committed after {MAX_ROUNDS} rounds")


def patiently(do: Callable[[], Any]) -> Any:
    """The same command again, until the store lets it through."""
    for _ in range(MAX_TRIES):
        try:
            return do()
        except StorageError as error:
            last = error
    raise last


def write_tables(store: Store) -> bytes:
    index = json.dumps({s["clip_id"]: s["file"] for record in read_commits(store) for s in record["samples"]}).encode()
    store.replace("index", index)
    files = [file for record in read_commits(store) for file in record["files"]]
    files.append({"name": "index", "sha256": hashlib.sha256(index).hexdigest()})
    return json.dumps({"files": files}).encode()


def read_whole(store: Store) -> dict[str, bytes] | None:
    """Every clip of a finished dataset; None while it is unfinished."""
    completion = read_completion(store)
    if completion is None:
        return None
    data = store.read("index")
    if hashlib.sha256(data).hexdigest() not in {file["sha256"] for file in completion["files"]}:
        raise DatasetError("a run is replacing the index")
    return {clip_id: store.read(file) for clip_id, file in json.loads(data).items()}


@contextmanager
def watched(scene: Scene, whole: dict[str, bytes]) -> Iterator[Counter[str]]:
    """What a reader sees meanwhile."""
    seen, is_over = Counter[str](), threading.Event()

    def look() -> None:
        while not is_over.is_set():
            try:
                found = read_whole(scene.clean)
            except (DatasetError, StorageError) as error:
                seen[str(error) if "does not exist" in str(error) else "an error"] += 1
            else:
                seen["nothing" if found is None else "all" if found == whole else "a part"] += 1
            is_over.wait(LOOK_S)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def run(scene: Scene, seed: int, num_shards: int, folder: Path) -> tuple[Counter[str], int]:
    """One seed: write, finish, look at everything. Returns how the attempts ended and the number of faults."""
    rng = random.Random(seed)
    shards = [f"s{number:04d}" for number in range(num_shards)]
    whole = {shard: rows_of(shard) for shard in shards}
    with watched(scene, whole) as seen:
        ended = write_all(scene, shards, rng, folder)
        patiently(lambda: finish(scene.store, lambda: write_tables(scene.store)))
        num_faults = scene.calm()
        finish(scene.clean, lambda: write_tables(scene.clean))
        assert read_whole(scene.clean) == whole
    assert seen.keys() <= {"nothing", "all", "an error"}
    assert seen["nothing"]
    by_shard = Counter(record["shard"] for record in read_commits(scene.clean))
    assert by_shard == dict.fromkeys(shards, 1), "every shard is committed exactly once"
    named = {file["name"] for record in read_commits(scene.clean) for file in record["files"]}
    assert {entry.name for entry in scene.clean.list(DATA)} == named, "no orphan is left"
    assert ended["won"] <= num_shards
    return ended, num_faults


# A folder behind a bad network.


def local_scene(root: Path, seed: int, num_faults: int, one_in: int = 4) -> Scene:
    """One request in so many fails, until there were enough faults."""
    rng, left = random.Random(seed), [num_faults]

    def choose(method: str, name: str) -> Fault | None:
        del method, name
        if not left[0] or rng.randrange(one_in):
            return None
        left[0] -= 1
        return rng.choice(list(Fault))

    clean = LocalStore(root)
    store = FaultyStore(clean, choose)

    def calm() -> int:
        left[0] = 0
        store.land()
        return store.fired.total()

    return Scene(store, clean, calm)


def test_racing_writers_on_a_failing_folder(tmp_path: Path) -> None:
    (tmp_path / "drafts").mkdir()
    ended, num_faults = run(local_scene(tmp_path / "root", 0, 120), 0, 40, tmp_path / "drafts")
    assert num_faults == 120
    assert ended.keys() >= {"won", "lost", "crashed", "StorageError", "CommitUnknown"}, "the test reaches every ending"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_many_racing_writers_on_a_failing_folder(tmp_path: Path, seed: int) -> None:
    (tmp_path / "drafts").mkdir()
    ended, num_faults = run(local_scene(tmp_path / "root", seed, 900), seed, 300, tmp_path / "drafts")
    print(f"seed {seed}: 300 of 300 shards, {num_faults} faults, attempts: {dict(ended)}")


# A bucket: the real client, and a server that fails.

KINDS = ["status:503", "status:429", "status:500", "reset", "lost_ack", "lost_ack", "truncate", "flip"]
REQUESTS = ["POST /upload", "POST /upload", "POST /upload", "GET .*/o", "GET .*/o", "GET .*/o", "DELETE"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gives up early, so that a fault that lasts becomes an unclear error."""
    monkeypatch.setenv("MIEN_RETRY_S", "1")


def bucket_scene(emulator: Emulator, prefix: str, seed: int, num_faults: int, num_shards: int) -> Scene:
    """Every fault strikes one request of its kind somewhere in the run, if there are so many."""
    rng = random.Random(seed)
    emulator.faults(
        [
            {"match": rng.choice(REQUESTS), "fault": rng.choice(KINDS), "skip": rng.randrange(num_shards)}
            for _ in range(num_faults)
        ]
    )
    store = open_store(f"gs://{BUCKET}/{prefix}")

    def calm() -> int:
        num_fired = len(emulator.fired())
        emulator.faults([])
        return num_fired

    return Scene(store, store, calm)


def test_racing_writers_on_a_failing_bucket(emulator: Emulator, impatient: None, tmp_path: Path) -> None:
    ended, num_faults = run(bucket_scene(emulator, "live", 0, 60, 20), 0, 20, tmp_path)
    assert num_faults > 40
    assert ended.keys() >= {"won", "lost", "crashed"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_many_racing_writers_on_a_failing_bucket(
    emulator: Emulator, impatient: None, tmp_path: Path, seed: int
) -> None:
    ended, num_faults = run(bucket_scene(emulator, f"live-{seed}", seed, 1000, 300), seed, 300, tmp_path)
    print(f"seed {seed}: 300 of 300 shards, {num_faults} faults, attempts: {dict(ended)}")
    assert num_faults >= 900, "some strike nothing: a reply to DELETE has no body to cut"
