"""The commit protocol: a shard exists when its write-once record exists, and only then.

    attempt     data/<shard>-<write id>.<ext>, then commits/<shard>.json under a name that must be free
    finaliser   closes the shards that nobody committed, writes index and tables, and mien.json last
    clean-up    after mien.json: deletes data whose shard has a record that does not name them
    reader      refuses without mien.json, reads only what the tables name

A taken name does not mean that another attempt won: the reply to our own first try may have been lost. So on a taken
name, and on any unclear error, the record is read back and its write id compared. A request that got no answer may
still take effect later, even after the run has ended; so data are deleted only on proof that the record of their shard
stands and names others. The finaliser makes that proof for what killed attempts left behind: it takes the names of
their records, and whoever comes late has lost. Nothing here needs a lock, a rename, a clock or a random number.
`tests/storage/test_storage_commit_interleavings.py` tries every order of steps, with crashes and lost replies.
"""

import contextlib
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

import google_crc32c

from mien.errors import AlreadyExists, CommitUnknown, DatasetError, StorageError
from mien.storage.ahead import ahead
from mien.storage.uri import Store

FOLDER = "commits/"
DATA = "data/"
COMPLETE = "mien.json"
"""The completion record, written last: without it a dataset is unfinished."""

CLOSED = "closed"
"""Write id of a record that holds nothing, so that its shard can never be committed."""

_CHUNK_BYTES = 1 << 20


class Digest(NamedTuple):
    """What a file must be: size, CRC32C as the bucket states it (8 hex characters) and SHA-256 (64)."""

    size_bytes: int
    crc32c: str
    sha256: str


def digest(path: Path) -> Digest:
    """Read a local file once and sum it up."""
    with path.open("rb") as file:
        return sum_up(iter(partial(file.read, _CHUNK_BYTES), b""))


def sum_up(chunks: Iterable[bytes]) -> Digest:
    """The digest of some bytes, one chunk after the other."""
    crc, sha, size = google_crc32c.Checksum(), hashlib.sha256(), 0
    for chunk in chunks:
        crc.update(chunk)
        sha.update(chunk)
        size += len(chunk)
    return Digest(size, crc.hexdigest().decode(), sha.hexdigest())


def new_write_id() -> str:
    """A name that no other attempt has."""
    return uuid.uuid4().hex


def data_name(shard: str, write_id: str, suffix: str) -> str:
    """Where one attempt puts the data of a shard; the name tells which record decides about it."""
    return f"{DATA}{shard}-{write_id}{suffix}"


def _record_name(shard: str) -> str:
    return f"{FOLDER}{shard}.json"


def _shard_of(data: str) -> str:
    """The shard that a data file belongs to."""
    return re.split(r"[-.]", PurePosixPath(data).name, maxsplit=1)[0]


def publish_shard(
    store: Store,
    shard: str,
    write_id: str,
    draft: Path | None,
    record: Mapping[str, Any],
    beside: Mapping[str, Path] = MappingProxyType({}),
) -> bool:
    """One attempt at a shard: its data under a name of its own, then its record; a loser removes its data.

    Args:
        store: Where the dataset is.
        shard: Names what is in the shard: all attempts at it have the same, and no other shard has it.
        write_id: Names this attempt, and no other.
        draft: The finished local file, or None if there are only failures.
        record: What the commit record says besides shard, write id and files.
        beside: Other finished files of this attempt, by the names that `data_name` gives them.

    Returns:
        True if the record that stands is of this attempt, False if another attempt was first.

    Raises:
        CommitUnknown: The store gave no clear answer and the record could not be read back; nothing was deleted.
        StorageError: The data or the record are not there, and may still appear; nothing was deleted.
    """
    files = []
    main = {} if draft is None else {data_name(shard, write_id, draft.suffix): draft}
    for name, path in {**main, **beside}.items():
        store.publish(path, name)
        files.append({"name": name, **digest(path)._asdict()})
    if commit(store, shard, write_id, {"files": files, **record}):
        return True
    for file in files:
        with contextlib.suppress(StorageError):  # what stays is an orphan: the clean-up finds it
            store.delete(file["name"])
    return False


def commit(store: Store, shard: str, write_id: str, record: Mapping[str, Any]) -> bool:
    """Put the record of one shard, once; the same results and errors as `publish_shard`.

    Raises:
        ValueError: A file has not the name that `data_name` gives it, so the clean-up would misjudge it.
    """
    for file in record["files"]:
        if _shard_of(file["name"]) != shard:
            raise ValueError(f"{file['name']}: a file of shard {shard} is named by data_name")
    name = _record_name(shard)
    data = json.dumps({"shard": shard, "write_id": write_id, **record}, ensure_ascii=False).encode()
    try:
        store.put_new(name, data)
    except AlreadyExists:
        return _owner(store, name) == write_id
    except StorageError as error:
        return _settle(store, name, write_id, error)
    return True


def _settle(store: Store, name: str, write_id: str, error: StorageError) -> bool:
    """Find out what an unclear error did: ours, another's, or nothing that can be seen yet."""
    try:
        is_there = any(entry.name == name for entry in store.list(name))
    except StorageError as second:
        raise _unknown(name, second) from error
    if not is_there:
        raise error
    return _owner(store, name) == write_id


def _owner(store: Store, name: str) -> str:
    try:
        return str(json.loads(store.read(name))["write_id"])
    except (StorageError, ValueError, KeyError) as error:
        raise _unknown(name, error) from error


def _unknown(name: str, error: Exception) -> CommitUnknown:
    return CommitUnknown(f"{name}: cannot be read back ({error}); run the same command, it resumes")


def read_commits(store: Store, skip: Container[str] = ()) -> Iterator[dict[str, Any]]:
    """Every commit record, ordered by name, but for closed shards and those whose name is skipped.

    Raises:
        DatasetError: A record is not what `commit` writes.
    """
    for name, data in commit_files(store, skip):
        record = parse(f"{store.uri}/{name}", data)
        if record["write_id"] != CLOSED:
            yield record


def commit_files(store: Store, skip: Container[str] = ()) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every commit record, ordered by name: one listing, and each is read once, some ahead."""
    names = (entry.name for entry in store.list(FOLDER) if entry.name not in skip)
    return ahead(lambda name: (name, store.read(name)), names)


def first_commit(store: Store) -> dict[str, Any] | None:
    """The first record by name that is not a closed shard; None before there is one."""
    records = (read_commit(store, entry.name) for entry in store.list(FOLDER))
    return next((record for record in records if record["write_id"] != CLOSED), None)


def read_commit(store: Store, name: str) -> dict[str, Any]:
    """One commit record.

    Raises:
        DatasetError: It is not what `commit` writes.
    """
    return parse(f"{store.uri}/{name}", store.read(name))


def parse(place: str, data: bytes) -> dict[str, Any]:
    """A commit record from its bytes.

    Raises:
        DatasetError: It is not what `commit` writes.
    """
    try:
        record = dict(json.loads(data))
        record["write_id"], record["files"], record["samples"], record["failures"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{place}: is not a commit record ({error})") from None
    return record


def finish(store: Store, write_tables: Callable[[], bytes]) -> None:
    """End a run: every planned clip must be committed, by whatever run.

    Args:
        store: Where the dataset is.
        write_tables: Writes everything that is made from the commit records, and returns the completion record: JSON
            whose `files` hold name and `sha256` of every committed data file and of every file that it wrote.

    Raises:
        StorageError: The store refused; the same command finishes it.
    """
    close_abandoned(store)
    store.replace(COMPLETE, write_tables())
    remove_orphans(store)


def close_abandoned(store: Store) -> None:
    """Give every shard with data but no record an empty one, so that an attempt thought dead cannot commit it later.

    Only right when every planned clip is committed: an attempt that still runs loses, and nobody needs it.
    """
    taken = {entry.name for entry in store.list(FOLDER)}
    shards = {_shard_of(entry.name) for entry in store.list(DATA)}
    for shard in sorted(shards):
        if _record_name(shard) not in taken:
            commit(store, shard, CLOSED, {"files": [], "samples": [], "failures": []})


def remove_orphans(store: Store) -> None:
    """Delete the data files that lost to the record of their shard; does nothing before the completion record exists.

    Raises:
        StorageError: The store refused; the next clean-up goes on.
    """
    completion = read_completion(store)
    if completion is None:
        return
    named = {file["name"] for file in completion.get("files", ())}
    for entry in store.list(DATA):
        if entry.name not in named and _has_lost(store, entry.name):
            store.delete(entry.name)


def _has_lost(store: Store, data: str) -> bool:
    """Whether the record of this file's shard stands and does not name it; False without a record: it may yet come."""
    name = _record_name(_shard_of(data))
    if not any(entry.name == name for entry in store.list(name)):
        return False
    return data not in {file["name"] for file in read_commit(store, name)["files"]}


def completion_generation(store: Store) -> int:
    """Generation of the completion record; 0 while the dataset is unfinished."""
    return next((entry.generation for entry in store.list(COMPLETE) if entry.name == COMPLETE), 0)


def read_completion(store: Store) -> dict[str, Any] | None:
    """The completion record, or None while the dataset is unfinished.

    Raises:
        DatasetError: It is damaged.
    """
    if not any(entry.name == COMPLETE for entry in store.list(COMPLETE)):
        return None
    try:
        return dict(json.loads(store.read(COMPLETE)))
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{store.uri}/{COMPLETE}: is damaged: {error}") from None
