"""One source file as it stood when it was planned: opened unchanged, or refused. A member of a tar is a source, too."""

import contextlib
import errno
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import google_crc32c

from mien.errors import StorageError, Unavailable
from mien.storage.local import translated
from mien.storage.ranges import Glance, Kept, RangeFile
from mien.storage.tar import Fetch, TarReader, is_tar, split_member
from mien.storage.uri import GCS, Entry, is_bucket

Way = Literal["glance", "ranges", "checked", "whole"]
"""How an object is read: the few bytes that are asked for; the ranges around them, ahead; each of these until two
replies agree; all of it, by its sum."""

_MAX_READS = 6


class Recent:
    """What was read of one object, for the next who opens it: the clips of a video follow each other."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._key: tuple[str, int, Way] | None = None
        self._kept = Kept()
        self.once = Kept()
        """Of this object, what came once and is now to be checked."""

    def of(self, uri: str, generation: int, way: Way) -> Kept:
        """The ranges that came of this object, those of any other dropped."""
        if self._key != (uri, generation, way):
            came_once = way == "checked" and self._key == (uri, generation, "ranges")
            self.once = self._kept if came_once else Kept()
            self._key, self._kept = (uri, generation, way), Kept()
        return self._kept

    def has(self, uri: str, generation: int, way: Way) -> bool:
        """Whether there are ranges of this object that were read so."""
        return self._key == (uri, generation, way) and bool(self._kept)

    def crc32c(self) -> str:
        """Of the ranges and where they lie, hexadecimal; empty where there are none."""
        checksum = google_crc32c.Checksum()
        for start, data in sorted(self._kept.items()):
            checksum.update(start.to_bytes(8) + data)
        return checksum.hexdigest().decode() if self._kept else ""

    def check(self, crc32c: str) -> None:
        """Let ranges that were read once count as checked if their sum is that of checked ones; else drop them."""
        if self._key is not None:
            is_known = self.crc32c() == crc32c
            self._key, self._kept = (*self._key[:2], "checked"), self._kept if is_known else Kept()


@contextlib.contextmanager
def opened(uri: str, planned: Entry, way: Way = "checked", recent: Recent | None = None) -> Iterator[str | BinaryIO]:
    """A local path, or a seekable file over an object or a member of a tar, of exactly the size and generation planned.

    Args:
        uri: Canonical place.
        planned: What it was, the generation being that of the tar for a member; the name is not looked at.
        way: How an object of a bucket is read; a file on a local disk is read in place. A member of a tar has no sum of
            its own: `whole` reads ranges of it, too.
        recent: Where ranges are kept for the next call.

    Raises:
        StorageError: It is gone, may not be read, or has changed since; or it is a tar that could not be planned from.
        Unavailable: The bucket does not answer, or this machine has no room for all of an object.
    """
    packed = split_member(uri)
    if packed is None and is_tar(uri):
        _refuse(uri, planned)
    if packed is None and not is_bucket(uri):
        _require_unchanged(uri, planned.size_bytes, planned.generation)
        yield uri
    elif packed is None and way == "whole":
        store, name = _object(uri)
        with _whole(store, name, planned.generation, uri) as file:
            yield file
    else:
        place, offset = (packed.tar, packed.offset) if packed else (uri, 0)
        with _ranges(place, None if packed else planned.size_bytes, planned.generation) as fetch:
            fetch = partial(_shifted, fetch, offset)
            recent = recent if recent and is_bucket(place) else Recent()
            kept = recent.of(uri, planned.generation, way)
            fetch = partial(_agreed, fetch, uri, recent.once) if way == "checked" and is_bucket(place) else fetch
            kind = Glance if way == "glance" else RangeFile
            yield cast("BinaryIO", kind(fetch, planned.size_bytes, uri, kept))


@contextlib.contextmanager
def tar_reader(uri: str, planned: Entry) -> Iterator[TarReader]:
    """The headers of a tar of exactly the size and generation planned, read by range.

    Raises:
        StorageError: It is gone, may not be read, or has changed since.
    """
    with _ranges(uri, planned.size_bytes, planned.generation) as fetch:
        fetch = partial(_agreed, fetch, uri, Kept()) if is_bucket(uri) else fetch
        yield TarReader(fetch, planned.size_bytes, uri)


def read_small(uri: str, planned: Entry, max_bytes: int, way: Way = "checked") -> bytes:
    """All bytes of a file such as lies beside a video: on a disk, in a bucket or in a tar.

    Raises:
        StorageError: As with `opened`, or it is larger than may be.
    """
    if planned.size_bytes > max_bytes:
        raise StorageError(f"{uri}: {planned.size_bytes} bytes are more than {max_bytes}; leave it out")
    with opened(uri, planned, way) as file:
        if not isinstance(file, str):
            return file.read()
        with translated(uri):
            return Path(file).read_bytes()


def _refuse(uri: str, planned: Entry) -> None:
    """Say why the members of a tar were not planned: only one that cannot be read is a source itself."""
    with tar_reader(uri, planned) as reader:
        for _ in reader.members():
            pass
    raise StorageError(f"{uri}: is a tar, not a video; plan its members again into a new output")


def _object(uri: str) -> tuple[Any, str]:
    """The store of a bucket, and the name of an object in it."""
    from mien.storage.gcs import GcsStore

    bucket, _, name = uri.removeprefix(GCS).partition("/")
    return GcsStore(GCS + bucket), name


@contextlib.contextmanager
def _ranges(uri: str, size_bytes: int | None, generation: int) -> Iterator[Fetch]:
    """Ranges of a file or an object, of exactly the generation (and size, where it is known) that was planned."""
    if is_bucket(uri):
        yield partial(_range, *_object(uri), generation)
        return
    _require_unchanged(uri, size_bytes, generation)
    with translated(uri):
        descriptor = os.open(uri, os.O_RDONLY)
    try:
        yield partial(_local_range, uri, descriptor)
    finally:
        os.close(descriptor)


def _local_range(uri: str, descriptor: int, start: int, stop: int) -> bytes:
    with translated(uri):
        return os.pread(descriptor, stop - start, start)


def _shifted(fetch: Fetch, offset: int, start: int, stop: int) -> bytes:
    return fetch(offset + start, offset + stop)


def _range(store: Any, name: str, generation: int, start: int, stop: int) -> bytes:
    return bytes(store.read_range(name, start, stop, generation))


def _agreed(fetch: Fetch, uri: str, once: Kept, start: int, stop: int) -> bytes:
    """A range that came twice alike, `once` perhaps before: the service has no sum for one, and no bit flips twice."""
    seen = {once.get(start, b"")}
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


def _require_unchanged(uri: str, size_bytes: int | None, generation: int) -> None:
    try:
        with translated(uri):
            stat = Path(uri).stat()
    except StorageError as error:
        raise StorageError(f"{error}; bring it back and use --retry-failed") from None
    if (size_bytes in (None, stat.st_size), generation) != (True, stat.st_mtime_ns):
        raise StorageError(f"{uri}: has changed since it was planned; plan it again into a new output")
