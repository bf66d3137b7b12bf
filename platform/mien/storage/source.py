"""One source file as it stood when it was planned: opened unchanged, or refused."""

import contextlib
import io
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from mien.errors import StorageError
from mien.storage.local import translated
from mien.storage.ranges import RangeFile
from mien.storage.uri import GCS, Entry, is_bucket


@contextlib.contextmanager
def opened(uri: str, planned: Entry, *, whole: bool = False) -> Iterator[str | BinaryIO]:
    """A local path, or a seekable file over an object of a bucket, of exactly the size and generation planned.

    Args:
        uri: Canonical place.
        planned: What it was; the name is not looked at.
        whole: Download an object first, and check it against its sum, instead of reading the ranges that are needed.

    Raises:
        StorageError: It is gone, may not be read, or has changed since.
    """
    if not is_bucket(uri):
        _require_unchanged(uri, planned)
        yield uri
        return
    from mien.storage.gcs import GcsStore

    bucket, _, name = uri.removeprefix(GCS).partition("/")
    store = GcsStore(GCS + bucket)
    if not whole:
        yield cast("BinaryIO", RangeFile(partial(_range, store, name, planned.generation), planned.size_bytes, uri))
        return
    scratch = store.scratch()
    try:
        store.download(name, scratch / "source", planned.generation)
        with io.BufferedReader(_Copy(scratch / "source", uri)) as file:
            yield file
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _range(store: Any, name: str, generation: int, start: int, stop: int) -> bytes:
    return bytes(store.read_range(name, start, stop, generation))


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
