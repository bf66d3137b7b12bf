"""One source file as it stood when it was planned: opened unchanged, or refused. A member of a tar is a source, too."""

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from mien.errors import StorageError
from mien.storage.local import translated
from mien.storage.ranges import MAX_FETCH_BYTES, RangeFile
from mien.storage.tar import Fetch, TarReader, is_tar, split_member
from mien.storage.uri import GCS, Entry, is_bucket


@contextlib.contextmanager
def opened(uri: str, planned: Entry, *, whole: bool = False) -> Iterator[str | BinaryIO]:
    """A local path, or a seekable file over an object or a member of a tar, of exactly the size and generation planned.

    Args:
        uri: Canonical place.
        planned: What it was, the generation being that of the tar for a member; the name is not looked at.
        whole: Download an object first, and check it against its sum, instead of reading the ranges that are needed.
            A member has no sum.

    Raises:
        StorageError: It is gone, may not be read, or has changed since; or it is a tar that could not be planned from.
    """
    packed = split_member(uri)
    if packed is None and is_tar(uri):
        _refuse(uri, planned)
    if packed is None and not is_bucket(uri):
        _require_unchanged(uri, planned.size_bytes, planned.generation)
        yield uri
        return
    place, offset = (packed.tar, packed.offset) if packed else (uri, 0)
    with _ranges(place, None if packed else planned.size_bytes, planned.generation) as fetch:
        file = RangeFile(partial(_shifted, fetch, offset), planned.size_bytes, uri)
        if not (whole and is_bucket(place)):
            yield cast("BinaryIO", file)
            return
    with _copy(file, uri, None if packed else planned.generation) as copy:
        yield copy


@contextlib.contextmanager
def tar_reader(uri: str, planned: Entry) -> Iterator[TarReader]:
    """The headers of a tar of exactly the size and generation planned, read by range.

    Raises:
        StorageError: It is gone, may not be read, or has changed since.
    """
    with _ranges(uri, planned.size_bytes, planned.generation) as fetch:
        yield TarReader(fetch, planned.size_bytes, uri)


def read_small(uri: str, planned: Entry, max_bytes: int) -> bytes:
    """All bytes of a file that lies beside a video: on a disk, in a bucket or in a tar.

    Raises:
        StorageError: As with `opened`, or it is larger than may be.
    """
    if planned.size_bytes > max_bytes:
        raise StorageError(f"{uri}: {planned.size_bytes} bytes are more than {max_bytes}; leave it out")
    with opened(uri, planned) as file:
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


@contextlib.contextmanager
def _ranges(uri: str, size_bytes: int | None, generation: int) -> Iterator[Fetch]:
    """Ranges of a file or an object, of exactly the generation (and size, where it is known) that was planned."""
    if is_bucket(uri):
        from mien.storage.gcs import GcsStore

        bucket, _, name = uri.removeprefix(GCS).partition("/")
        yield partial(_range, GcsStore(GCS + bucket), name, generation)
        return
    _require_unchanged(uri, size_bytes, generation)
    with translated(uri):
        descriptor = os.open(uri, os.O_RDONLY)
    try:
        yield partial(_local_range, uri, descriptor)
    finally:
        os.close(descriptor)


def _range(store: Any, name: str, generation: int, start: int, stop: int) -> bytes:
    return bytes(store.read_range(name, start, stop, generation))


def _local_range(uri: str, descriptor: int, start: int, stop: int) -> bytes:
    with translated(uri):
        return os.pread(descriptor, stop - start, start)


def _shifted(fetch: Fetch, offset: int, start: int, stop: int) -> bytes:
    return fetch(offset + start, offset + stop)


@contextlib.contextmanager
def _copy(ranges: RangeFile, uri: str, generation: int | None) -> Iterator[BinaryIO]:
    """A local copy of an object, or without a generation of a member of a tar."""
    from mien.storage.gcs import GcsStore

    bucket, _, name = uri.removeprefix(GCS).partition("/")
    store = GcsStore(GCS + bucket)
    scratch = store.scratch()
    try:
        if generation is None:
            _write(ranges, scratch / "source")
        else:
            store.download(name, scratch / "source", generation)
        with io.BufferedReader(_Copy(scratch / "source", uri)) as file:
            yield file
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(ranges: RangeFile, path: Path) -> None:
    with translated(path), path.open("wb") as file:
        while piece := ranges.read(MAX_FETCH_BYTES):
            file.write(piece)


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
    if (size_bytes or stat.st_size, generation) != (stat.st_size, stat.st_mtime_ns):
        raise StorageError(f"{uri}: has changed since it was planned; plan it again into a new output")
