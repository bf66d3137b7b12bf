"""Where objects are kept: in memory, or in a folder that outlives the server.

In a folder every bucket and object has a description named by the SHA-256 of what it describes, and every object's
bytes a file named by a random number: nothing that a client says becomes part of a path. Bytes are written first, the
description is renamed over the old one last, so a killed server leaves the old object or the new one.
"""

import fcntl
import hashlib
import json
import mmap
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from mien.errors import StorageError
from mien.storage.emulator.blob import Blob, Content, Data, Sums
from mien.storage.local import translated


class Memory:
    """Keeps nothing: the objects in memory are all there is."""

    def keep(self, data: Data) -> Content:
        """Take the bytes of an object that may come to be."""
        return data

    def discard(self, content: Content) -> None:
        """Forget bytes that no object has, or no longer."""

    def save(self, blob: Blob) -> None:
        """Make an object, or another generation of it, outlive the server."""

    def drop(self, blob: Blob) -> None:
        """Make an object's end outlive the server."""

    def save_bucket(self, bucket: dict[str, Any]) -> None:
        """Make a bucket outlive the server."""

    def drop_bucket(self, name: str) -> None:
        """Make a bucket's end outlive the server."""

    def close(self) -> None:
        """Let another server have what is kept."""

    def buckets(self) -> Iterator[dict[str, Any]]:
        """Buckets of an earlier server."""
        yield from ()

    def blobs(self) -> Iterator[Blob]:
        """Objects of an earlier server."""
        yield from ()


class Folder(Memory):
    """Keeps everything below one folder, which no other emulator may use at the same time."""

    def __init__(self, root: Path) -> None:
        """Make the folder if need be and lock it.

        Raises:
            StorageError: It cannot be made or written to, or another emulator uses it.
        """
        self._data, self._objects, self._buckets = root / "data", root / "objects", root / "buckets"
        with translated(root):
            for folder in (self._data, self._objects, self._buckets):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = (root / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._clear()
        except BlockingIOError:
            self.close()
            raise StorageError(f"{root}: another emulator uses this folder; end it or give another folder") from None
        except StorageError:
            self.close()
            raise

    def keep(self, data: Data) -> Content:
        """Write the bytes into a new file."""
        path = self._data / uuid.uuid4().hex
        path.write_bytes(data)
        return path

    def discard(self, content: Content) -> None:
        """Delete their file; who reads it goes on."""
        if isinstance(content, Path):
            content.unlink(missing_ok=True)

    def save(self, blob: Blob) -> None:
        """Replace the object's description."""
        described = {field.name: getattr(blob, field.name) for field in fields(blob)}
        file = cast("Path", blob.content).name
        _replace(self._objects / _hashed(blob.bucket, blob.name), {**described, "content": file})

    def drop(self, blob: Blob) -> None:
        """Delete the object's description."""
        (self._objects / _hashed(blob.bucket, blob.name)).unlink(missing_ok=True)

    def save_bucket(self, bucket: dict[str, Any]) -> None:
        """Replace the bucket's description."""
        _replace(self._buckets / _hashed(bucket["name"]), bucket)

    def drop_bucket(self, name: str) -> None:
        """Delete the bucket's description."""
        (self._buckets / _hashed(name)).unlink(missing_ok=True)

    def close(self) -> None:
        """Release the lock on the folder."""
        self._lock.close()

    def buckets(self) -> Iterator[dict[str, Any]]:
        """Read every bucket's description."""
        yield from _read_all(self._buckets)

    def blobs(self) -> Iterator[Blob]:
        """Read every object's description."""
        for described in _read_all(self._objects):
            content = self._data / described.pop("content")
            yield Blob(**{**described, "sums": Sums(*described["sums"]), "content": content})

    def _clear(self) -> None:
        """Remove what a killed server left: drafts of descriptions, bytes that no object has."""
        for folder in (self._objects, self._buckets):
            for draft in folder.glob("*.tmp"):
                draft.unlink()
        used = {described["content"] for described in _read_all(self._objects)}
        for path in self._data.iterdir():
            if path.name not in used:
                path.unlink()


def view(content: Content) -> memoryview:
    """An object's bytes, not copied; a file is mapped, and stays readable when it is deleted."""
    if not isinstance(content, Path):
        return memoryview(content)
    with content.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # cannot be mapped
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def microseconds() -> int:
    """The time as real generations are made of it: later ones are larger, also after a restart."""
    return time.time_ns() // 1000


def _hashed(*names: str) -> str:
    """A file name for a bucket or object; the separator is none of a bucket's name."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest() + ".json"


def _replace(path: Path, described: dict[str, Any]) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(described), encoding="utf-8")
    draft.replace(path)


def _read_all(folder: Path) -> Iterator[dict[str, Any]]:
    for path in folder.glob("*.json"):
        try:
            yield json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StorageError(f"{path}: is no description of the emulator ({error}); delete it") from error
