"""A bucket as a store: write-once names by generation preconditions, every whole object checked by its CRC32C."""

import atexit
import base64
import contextlib
import errno
import functools
import hashlib
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import google_crc32c
from google.api_core import exceptions
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption

from mien.errors import AlreadyExists, StorageError
from mien.storage import local
from mien.storage.gcs_client import bounds, client, pinned, project, translated
from mien.storage.uri import GCS, Entry

T = TypeVar("T")

_MAX_DAMAGED = 3
_MAX_FETCHED = 16
"""Local copies that `fetch` keeps; a shard is about 64 to 256 MB."""


class GcsStore:
    """Objects below a prefix of a bucket."""

    def __init__(self, uri: str) -> None:
        """Take a canonical `gs://bucket[/prefix]`; nothing is asked yet."""
        self.uri = uri
        self._bucket, _, prefix = uri.removeprefix(GCS).partition("/")
        self._prefix = f"{prefix}/" if prefix else ""

    def put_new(self, name: str, data: bytes) -> None:
        """Create an object that must not exist: generation 0 is the precondition, also when the client tries again."""
        with translated(self._name(name)):
            self._blob(name).upload_from_string(data, if_generation_match=0, checksum="crc32c", **bounds())

    def replace(self, name: str, data: bytes) -> None:
        """Write an object; readers see the old one or the new one."""
        with translated(self._name(name)):
            self._blob(name).upload_from_string(data, checksum="crc32c", **bounds())

    def publish(self, path: Path, name: str) -> None:
        """Upload a file under a free name, in pieces that are tried again one by one."""
        try:
            with translated(self._name(name)):
                blob = self._blob(name)
                blob.upload_from_filename(str(path), if_generation_match=0, checksum="crc32c", **bounds())
        except AlreadyExists:
            if not self._holds(name, path):  # else the reply to our own upload was lost
                raise

    def replace_file(self, path: Path, name: str) -> None:
        """Upload a file in place of what is there; readers see the old one or the new one."""
        with translated(self._name(name)):
            self._blob(name).upload_from_filename(str(path), checksum="crc32c", **bounds())

    def read(self, name: str) -> bytes:
        """All bytes of one object, checked."""
        with translated(self._name(name)):
            return _intact(lambda: _read(self._blob(name)))

    def read_range(self, name: str, start: int, stop: int, generation: int | None = None) -> bytes:
        """Bytes [start, stop) of one object, of exactly the given generation. Nobody checks a range."""
        with translated(self._name(name)), pinned(self._name(name)):
            blob = self._blob(name, generation)
            return bytes(
                blob.download_as_bytes(start=start, end=stop - 1, checksum=None, raw_download=True, **bounds())
            )

    def fetch(self, name: str) -> Path:
        """A checked local copy; the last few are kept while the process lives."""
        entry = self.stat(name)
        with local.translated(tempfile.gettempdir()):
            return _copies().get(self, name, entry.generation)

    def download(self, name: str, path: Path, generation: int | None = None) -> None:
        """Write one object to a local file, checked."""
        with translated(self._name(name)), pinned(self._name(name)):
            _intact(lambda: _download(self._blob(name, generation), path))

    def stat(self, name: str) -> Entry:
        """Size and generation of one object."""
        with translated(self._name(name)):
            blob = client().bucket(self._bucket).get_blob(self._prefix + name, **bounds())
        if blob is None:
            raise StorageError(f"{self._name(name)}: does not exist")
        return Entry(name, blob.size, blob.generation)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Objects in the order of their names; placeholders of folders are left out."""
        return self._listed(prefix=self._prefix + prefix)

    def glob(self, pattern: str) -> Iterator[Entry]:
        """Objects whose name matches: `*` within a part, `**` across parts."""
        return self._listed(match_glob=self._prefix + pattern)

    def _listed(self, **which: str) -> Iterator[Entry]:
        with translated(self.uri):
            fields = "items(name,size,generation),nextPageToken"
            for blob in client().list_blobs(self._bucket, fields=fields, **which, **bounds()):
                if not blob.name.endswith("/"):
                    yield Entry(blob.name.removeprefix(self._prefix), blob.size, blob.generation)

    def delete(self, name: str) -> None:
        """Remove one object; one that is gone already counts as removed, since the reply to our own try may be lost."""
        with translated(self._name(name)), contextlib.suppress(exceptions.NotFound):
            self._blob(name).delete(**bounds())

    def about(self) -> str:
        """Region of the bucket and the project that pays for quota, for a person."""
        try:
            with translated(self.uri):
                bucket = client().get_bucket(self._bucket, **bounds())
            region = f"{bucket.location or 'unknown region'} {bucket.storage_class or ''}".strip()
        except StorageError:  # needs a right of its own, storage.buckets.get, that nothing else here needs
            region = "unknown region"
        return f"{region}, project {project() or 'of the credentials'}"

    def scratch(self) -> Path:
        """A new local folder."""
        with local.translated(tempfile.gettempdir()):
            return Path(tempfile.mkdtemp(prefix="mien-"))

    def clear_scratch(self) -> None:
        """Nothing unfinished is ever in a bucket: an object appears whole."""

    def _name(self, name: str) -> str:
        return f"{self.uri}/{name}" if name else self.uri

    def _blob(self, name: str, generation: int | None = None) -> storage.Blob:
        return client().bucket(self._bucket).blob(self._prefix + name, generation=generation)

    def has(self, name: str, size_bytes: int, crc32c: str) -> bool:
        """Whether an object is there with this size and sum, as the service states them; 8 hex characters.

        What says otherwise is asked for once more: nothing guards such a reply against a bit that turns on its way.
        """
        wanted = size_bytes, base64.b64encode(bytes.fromhex(crc32c)).decode()
        return any(self._stated(name) == wanted for _ in range(2))

    def _stated(self, name: str) -> tuple[int, str] | None:
        """Size and CRC32C of an object; None where there is none, or no number stands for its size."""
        with translated(self._name(name)):
            blob = client().bucket(self._bucket).get_blob(self._prefix + name, **bounds())
        with contextlib.suppress(ValueError):
            return None if blob is None else (blob.size, blob.crc32c)
        return None

    def _holds(self, name: str, path: Path) -> bool:
        """Whether the object has the bytes of a local file."""
        return self.has(name, path.stat().st_size, _crc32c(path))


def _read(blob: storage.Blob) -> bytes:
    data = bytes(blob.download_as_bytes(checksum="crc32c", **bounds()))
    _require_sum(blob, google_crc32c.value(data).to_bytes(4))
    return data


def _download(blob: storage.Blob, path: Path) -> None:
    blob.download_to_filename(str(path), checksum="crc32c", **bounds())
    _require_sum(blob, bytes.fromhex(_crc32c(path)))


def _require_sum(blob: storage.Blob, crc32c: bytes) -> None:
    """Hold what came against the sum of the object: the client checks no download that broke off and was taken up.

    What was packed for the way is unpacked by then, and has no sum.
    """
    if blob.crc32c is None:
        blob.reload(**bounds())
    if not blob.content_encoding and base64.b64decode(blob.crc32c) != crc32c:
        raise DataCorruption(None, f"{blob.name}: its CRC32C is {crc32c.hex()}, not that of the object")


def _intact(download: Callable[[], T]) -> T:
    """What a download gives, tried again when it arrives damaged: the client itself does not."""
    for _ in range(_MAX_DAMAGED):
        with contextlib.suppress(DataCorruption):
            return download()
    return download()


def _crc32c(path: Path) -> str:
    """CRC32C of a file, 8 hex characters."""
    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            checksum.update(chunk)
    return str(checksum.hexdigest().decode())


class _Copies:
    """Local copies of objects, by place and generation, in a folder that goes with the process."""

    def __init__(self, process_id: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="mien-fetched-"))
        self._paths = OrderedDict[tuple[str, str, int], Path]()
        self._process_id = process_id
        atexit.register(self._remove)

    def get(self, store: GcsStore, name: str, generation: int) -> Path:
        """The copy; readers that have an older one open keep it, though its name goes."""
        key = store.uri, name, generation
        if key not in self._paths:
            digest = hashlib.sha256(f"{store.uri}/{name}".encode()).hexdigest()[:16]
            path = self._folder / f"{digest}-{generation}{Path(name).suffix}"
            self._download(store, name, path, generation)
            self._paths[key] = path
        self._paths.move_to_end(key)
        self._drop(_MAX_FETCHED)
        return self._paths[key]

    def _download(self, store: GcsStore, name: str, path: Path, generation: int) -> None:
        """One object; where the disk has no room for it, once more without the other copies."""
        try:
            store.download(name, path, generation)
        except OSError as error:
            path.unlink(missing_ok=True)
            if error.errno not in {errno.ENOSPC, errno.EDQUOT} or not self._paths:
                raise
            self._drop(0)
            store.download(name, path, generation)

    def _drop(self, num_kept: int) -> None:
        while len(self._paths) > num_kept:
            self._paths.popitem(last=False)[1].unlink(missing_ok=True)

    def _remove(self) -> None:
        if os.getpid() == self._process_id:  # not in a forked child
            shutil.rmtree(self._folder, ignore_errors=True)


def _copies() -> _Copies:
    return _copies_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _copies_of(process_id: int) -> _Copies:
    return _Copies(process_id)
