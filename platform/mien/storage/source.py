"""One source file as it stood when it was planned: opened unchanged, or refused."""

import contextlib
import errno
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from mien.errors import StorageError, Unavailable
from mien.storage.local import translated
from mien.storage.ranges import RangeFile
from mien.storage.uri import GCS, Entry, is_bucket

Way = Literal["ranges", "checked", "whole"]
"""How an object is read: the ranges that are asked for; each of them until two replies agree; all of it, by its sum."""

_MAX_READS = 6


@contextlib.contextmanager
def opened(uri: str, planned: Entry, way: Way = "ranges") -> Iterator[str | BinaryIO]:
    """A local path, or a seekable file over an object of a bucket, of exactly the size and generation planned.

    Args:
        uri: Canonical place.
        planned: What it was; the name is not looked at.
        way: How an object of a bucket is read; a file on a local disk is read in place.

    Raises:
        StorageError: It is gone, may not be read, or has changed since.
        Unavailable: The bucket does not answer, or this machine has no room for all of an object.
    """
    if not is_bucket(uri):
        _require_unchanged(uri, planned)
        yield uri
        return
    from mien.storage.gcs import GcsStore

    bucket, _, name = uri.removeprefix(GCS).partition("/")
    store = GcsStore(GCS + bucket)
    if way == "whole":
        with _whole(store, name, planned.generation, uri) as file:
            yield file
        return
    fetch = partial(_range, store, name, planned.generation)
    fetch = partial(_agreed, fetch, uri) if way == "checked" else fetch
    yield cast("BinaryIO", RangeFile(fetch, planned.size_bytes, uri))


def _range(store: Any, name: str, generation: int, start: int, stop: int) -> bytes:
    return bytes(store.read_range(name, start, stop, generation))


def _agreed(fetch: Callable[[int, int], bytes], uri: str, start: int, stop: int) -> bytes:
    """A range that came twice alike: the service has no sum for one, and a bit that flips does not do so twice."""
    seen = set[bytes]()
    for _ in range(_MAX_READS):
        data = fetch(start, stop)
        if data in seen:
            return data
        seen.add(data)
    raise StorageError(f"{uri}: bytes {start} to {stop} came differently {_MAX_READS} times; look at the network")


@contextlib.contextmanager
def _whole(store: Any, name: str, generation: int, uri: str) -> Iterator[BinaryIO]:
    """A local copy, checked; a full disk says nothing of the object, so that no clip is to blame."""
    with _room(uri):
        scratch = Path(tempfile.mkdtemp(prefix="mien-"))
    try:
        with _room(uri):
            store.download(name, scratch / "source", generation)
        with io.BufferedReader(_Copy(scratch / "source", uri)) as file:
            yield file
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _room(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        place = tempfile.gettempdir()
        remedy = "free some or set fetch=ranges, and run the same command, it resumes"
        raise Unavailable(f"{uri}: no space left for a copy in {place} of this machine; {remedy}") from error


class _Copy(io.FileIO):
    """A local copy that goes by the name of what it is a copy of."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path)
        self.name = name


def _require_unchanged(uri: str, planned: Entry) -> None:
    try:
        with translated(uri):
            stat = Path(uri).stat()
    except StorageError as error:
        raise StorageError(f"{error}; bring it back and use --retry-failed") from None
    if (stat.st_size, stat.st_mtime_ns) != (planned.size_bytes, planned.generation):
        raise StorageError(f"{uri}: has changed since it was planned; plan it again into a new output")
