"""What a user writes as a place, made canonical, and the store behind it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from mien.errors import ConfigError

GCS = "gs://"
_MAX_NAME_BYTES, _MAX_PART_BYTES = 900, 255
"""What buckets and file systems take, with room for the root."""
_DRIVE = re.compile(r"[A-Za-z]:")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


class Entry(NamedTuple):
    """One file or object of a listing."""

    name: str
    """Relative to the store's root, with `/` between parts."""
    size_bytes: int
    generation: int
    """Changes whenever the content may have changed: an object's generation, the modification time in ns of a file."""


@runtime_checkable
class Store(Protocol):
    """Files or objects below one root; names are relative and use `/`, every failure is a StorageError."""

    @property
    def uri(self) -> str:
        """Canonical place of the root."""

    def put_new(self, name: str, data: bytes) -> None:
        """Write a small object under a name that must be free, whole or not at all; AlreadyExists if it is taken."""

    def replace(self, name: str, data: bytes) -> None:
        """Write a small object whole or not at all, whatever is there."""

    def publish(self, path: Path, name: str) -> None:
        """Give a finished local file a free name; AlreadyExists if it is taken."""

    def replace_file(self, path: Path, name: str) -> None:
        """Give a finished local file a name, whatever is there, whole or not at all; the file may be moved."""

    def read(self, name: str) -> bytes:
        """All bytes of one object."""

    def fetch(self, name: str) -> Path:
        """A local path of one object, for libraries that need a file."""

    def stat(self, name: str) -> Entry:
        """Size and generation of one object, which must be there."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object whose name begins with the prefix, sorted by name."""

    def delete(self, name: str) -> None:
        """Remove one object; nothing happens where there is none."""

    def scratch(self) -> Path:
        """A new local folder from which `publish` is cheap; the caller removes it."""

    def clear_scratch(self) -> None:
        """Remove what killed writers left behind; only right when no writer can be alive."""


def is_bucket(place: str) -> bool:
    """Whether a place lies in a bucket."""
    return place.startswith(GCS)


def canonical(place: str) -> str:
    """Absolute form of a local path or of `gs://bucket/prefix`; two spellings of one place give one string.

    Raises:
        ConfigError: It is no path, or its scheme is not one that mien can read or write.
    """
    if is_bucket(place):
        return _canonical_object(place)
    scheme, separator, rest = place.partition("://")
    if separator and scheme != "file":
        raise ConfigError(f"{place}: {scheme}:// is not supported; give a local path or gs://BUCKET/PREFIX")
    try:
        return str(Path(rest if separator else place).expanduser().absolute().resolve())
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown ~user, a null character
        raise ConfigError(f"{place!r}: is no usable path: {error}; give another") from None


def _canonical_object(place: str) -> str:
    bucket, _, name = place.removeprefix(GCS).partition("/")
    parts = name.rstrip("/").split("/") if name.rstrip("/") else []
    if not _BUCKET.fullmatch(bucket):
        raise ConfigError(f"{place!r}: {bucket!r} is no name of a bucket; give gs://BUCKET/PREFIX")
    if {"", ".", ".."} & set(parts) or any(not char.isprintable() for char in name):
        raise ConfigError(f"{place!r}: has an empty or dotted part, or an unprintable character; give another")
    return GCS + "/".join([bucket, *parts])


def fault_of_name(name: str) -> str:
    """Why a stranger's name cannot stand below a root, in a folder as in a bucket; empty if it can."""
    parts = name.split("/")
    if not name or name.startswith("/") or _DRIVE.match(name):
        return "is absolute" if name else "is empty"
    if {"", ".", ".."} & {*parts}:
        return "has an empty or dotted part"
    if not name.isprintable() or "\\" in name:
        return "has a backslash or an unprintable character"
    if len(name.encode()) > _MAX_NAME_BYTES or max(len(part.encode()) for part in parts) > _MAX_PART_BYTES:
        return f"is longer than {_MAX_NAME_BYTES} bytes, or a part of it than {_MAX_PART_BYTES}"
    if any(part.startswith(".") for part in parts):
        return "has a part that begins with a dot, which no listing shows"
    return ""


def contains(outer: str, inner: str) -> bool:
    """Whether one canonical place is another, or lies below it."""
    return f"{inner}/".startswith(f"{outer.rstrip('/')}/")


def open_store(place: str) -> Store:
    """The store whose root is at the given place; nothing is created yet."""
    place = canonical(place)
    if is_bucket(place):
        from mien.storage.gcs import GcsStore

        return GcsStore(place)
    from mien.storage.local import LocalStore

    return LocalStore(Path(place))


def arrow_place(place: str) -> tuple[str, Any]:
    """A canonical place as pyarrow and Ray want it: a path, and the file system it lies on (None for the local one)."""
    if not is_bucket(place):
        return place, None
    from mien.storage.gcs_client import arrow_filesystem

    return place.removeprefix(GCS), arrow_filesystem()
