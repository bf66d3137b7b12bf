"""What a file must be and what it is: size, SHA-256, CRC32C, MD5, as a list promises them or a server states them."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from mien.errors import DownloadError, StorageError
from mien.storage.commit import Digest, digest, sum_up
from mien.storage.ranges import MAX_FETCH_BYTES
from mien.storage.uri import Store, is_bucket

_NUM_BYTES = {"sha256": 32, "crc32c": 4, "md5": 16}
_CHUNK_BYTES = 1 << 20


class Sums(NamedTuple):
    """What is promised of a file; None and empty where nothing is. Sums in lower-case hexadecimal digits."""

    size_bytes: int | None = None
    sha256: str = ""
    crc32c: str = ""
    md5: str = ""

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """From the columns of a list: sums in hexadecimal digits, or in base64 as buckets write them.

        Raises:
            ValueError: One of them cannot be what it is called.
        """
        size = values.get("size_bytes")
        size_bytes = None if size is None or str(size).strip().lower() in {"", "nan"} else _size(size)
        return cls(size_bytes, **{kind: _hex(kind, str(values.get(kind) or "").strip()) for kind in _NUM_BYTES})

    @property
    def is_content(self) -> bool:
        """Whether a sum tells one content from another."""
        return bool(self.sha256 or self.md5 or self.crc32c)

    def check(self, found: Digest, path: Path, name: str) -> None:
        """Hold a local file against what is promised; `name` is what the message calls it.

        Raises:
            DownloadError: It differs.
        """
        if self.size_bytes not in (None, found.size_bytes):
            raise DownloadError(f"{name}: has {found.size_bytes} bytes, promised are {self.size_bytes}; {_REMEDY}")
        facts = {"sha256": found.sha256, "crc32c": found.crc32c, "md5": _md5(path) if self.md5 else ""}
        for kind, promised in self._asdict().items():
            if kind in facts and promised and promised != facts[kind]:
                raise DownloadError(f"{name}: {kind} is {facts[kind]}, promised is {promised}; {_REMEDY}")


_REMEDY = "correct the list, or get a link to the right file"


def _size(value: Any) -> int:
    number = float(value) if not isinstance(value, str) else float(value.strip())
    if not number.is_integer() or number < 0:
        raise ValueError(f"size_bytes {value!r} is no number of bytes")
    return int(number)


def _hex(kind: str, text: str) -> str:
    """A sum in lower-case hexadecimal digits, whichever way it is written."""
    num_bytes = _NUM_BYTES[kind]
    for decode in (bytes.fromhex, partial(base64.b64decode, validate=True)):
        try:
            if not text or len(data := decode(text)) == num_bytes:
                return data.hex() if text else ""
        except (ValueError, binascii.Error):
            continue
    raise ValueError(f"{kind} {text[:100]!r} is not {num_bytes} bytes in hexadecimal digits or base64")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def stated(headers: Mapping[str, str]) -> Sums:
    """The sums of the whole file that a server states of itself, if any: `x-goog-hash`; what is unreadable is no sum.

    Content-MD5 is not taken: it is the sum of the answer, which may be a range.
    """
    if headers.get("x-goog-stored-content-encoding", "identity") != "identity":
        return Sums()  # the sum is of what is stored, and what is sent was unfolded on the way
    values = dict[str, str]()
    for part in headers.get("x-goog-hash", "").split(","):
        kind, _, value = part.strip().partition("=")
        if kind in _NUM_BYTES:
            values[kind] = value
    try:
        return Sums.parse(values)
    except ValueError:
        return Sums()


def digest_at(store: Store, name: str) -> Digest:
    """Read a file or object once, where it lies, and sum it up; memory is bounded.

    Raises:
        StorageError: It is gone or cannot be read, or changes meanwhile.
    """
    if not is_bucket(store.uri):
        return digest(store.fetch(name))
    from mien.storage.gcs import GcsStore

    bucket = GcsStore(store.uri)
    entry = bucket.stat(name)
    starts = range(0, entry.size_bytes, MAX_FETCH_BYTES)
    return sum_up(
        bucket.read_range(name, start, min(start + MAX_FETCH_BYTES, entry.size_bytes), entry.generation)
        for start in starts
    )


def holds(store: Store, name: str, content: Digest) -> bool:
    """Whether a file or object of this content is at the name: a bucket is asked for its sum, a file is read."""
    if is_bucket(store.uri):
        from mien.storage.gcs import GcsStore

        return GcsStore(store.uri).has(name, content.size_bytes, content.crc32c)
    try:
        return store.stat(name).size_bytes == content.size_bytes and digest(store.fetch(name)) == content
    except StorageError:
        return False
