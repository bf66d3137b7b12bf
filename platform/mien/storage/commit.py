"""The commit protocol: a shard exists when its write-once record exists, and only then.

An attempt publishes its files under unique names, then puts `commits/<shard>.json` under a name that must be free.
A taken name does not mean that another attempt won: the reply to our own first try may have been lost. So on a taken
name, and on any unclear error, the record is read back and its write id compared. Nothing needs a lock, a rename or a
clock. Checked exhaustively against its wrong variants in the project's reliability notes.
"""

import hashlib
import json
import uuid
from collections.abc import Container, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c

from mien.errors import AlreadyExists, CommitUnknown, DatasetError, StorageError
from mien.storage.ahead import ahead
from mien.storage.uri import Store

FOLDER = "commits/"
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


def commit(store: Store, shard: str, write_id: str, record: dict[str, Any]) -> bool:
    """Put the record of one shard, once.

    Returns:
        True if the record that stands is of this attempt, False if another attempt was first.

    Raises:
        CommitUnknown: The store gave no clear answer and the record could not be read back.
        StorageError: The record was certainly not written.
    """
    name = f"{FOLDER}{shard}.json"
    data = json.dumps({"shard": shard, "write_id": write_id, **record}, ensure_ascii=False).encode()
    try:
        store.put_new(name, data)
    except AlreadyExists:
        return _owner(store, name) == write_id
    except StorageError as error:
        return _settle(store, name, write_id, error)
    return True


def _settle(store: Store, name: str, write_id: str, error: StorageError) -> bool:
    """Find out what an unclear error did: ours, another's, or nothing written."""
    if not any(entry.name == name for entry in store.list(name)):
        raise error
    return _owner(store, name) == write_id


def _owner(store: Store, name: str) -> str:
    try:
        return str(json.loads(store.read(name))["write_id"])
    except (StorageError, ValueError, KeyError) as error:
        raise CommitUnknown(f"{name}: cannot be read back ({error}); run the same command, it resumes") from error


def read_commits(store: Store, skip: Container[str] = ()) -> Iterator[dict[str, Any]]:
    """Every commit record, ordered by name, but for those whose name is skipped.

    Raises:
        DatasetError: A record is not what `commit` writes.
    """
    for name, data in commit_files(store, skip):
        yield parse(f"{store.uri}/{name}", data)


def commit_files(store: Store, skip: Container[str] = ()) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every commit record, ordered by name: one listing, and each is read once, some ahead."""
    names = (entry.name for entry in store.list(FOLDER) if entry.name not in skip)
    return ahead(lambda name: (name, store.read(name)), names)


def first_commit(store: Store) -> dict[str, Any] | None:
    """The first record by name; None before there is one."""
    entry = next(store.list(FOLDER), None)
    return None if entry is None else read_commit(store, entry.name)


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
