"""Zip and tar archives of strangers: every name, kind and size is held against the limits before anything is published.

An archive is read twice. `survey` reads all of it, which also proves its checksums, and writes nothing; `unpacked` then
hands out one member at a time as a local file, so that the disk holds the archive and one member at most.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

from pydantic import Field

from mien.config import Config
from mien.errors import ArchiveError
from mien.log import printable
from mien.storage.commit import Digest, sum_up
from mien.storage.local import translated
from mien.storage.uri import fault_of_name

ENDINGS = (".zip",)
"""Endings of what is unpacked when a list does not say; a tar may be a shard that is read as it is."""

_BROKEN = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile),
    *(EOFError, NotImplementedError, RuntimeError, OverflowError, ValueError, struct.error, KeyError, IndexError),
    *(MemoryError, AttributeError, RecursionError),
)
"""What the standard library makes of hostile archives."""
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2}
_ENCRYPTED = 0x1
_CHUNK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 1 << 20
"""One header of a tar, such as a long name."""
_BYTES_PER_MEMBER = 46 + 256
"""Of the list at the end of a zip, generously."""
_RATIO_FROM_BYTES = 16 << 20
"""A small archive may unfold a thousandfold: empty tables do."""


class ArchiveConfig(Config):
    """What an archive may be at most; a larger one is refused whole."""

    max_unpacked_gb: float = Field(500.0, gt=0, allow_inf_nan=False)
    """Bytes of all its members."""

    max_members: int = Field(100_000, ge=1)
    """Files and folders in it."""

    max_ratio: float = Field(200.0, ge=1, allow_inf_nan=False)
    """Unpacked size over its own: what unfolds further is a bomb."""

    max_memory_gb: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Memory that unpacking may take, on top of what its worker holds. Held on Linux."""


class Member(NamedTuple):
    """One file of an archive."""

    name: str
    """Relative, with `/` between parts; safe below any root."""
    digest: Digest


class Survey(NamedTuple):
    """What is in an archive."""

    members: list[Member]
    num_left_out: int
    """Files that no listing would show: `__MACOSX/`, `.DS_Store` and others that begin with a dot."""


def survey(path: Path, name: str, config: ArchiveConfig) -> Survey:
    """Read an archive to its end and hold it against the limits; nothing is written.

    Args:
        path: The archive.
        name: What messages call it.
        config: The limits.

    Raises:
        ArchiveError: It is damaged, encrypted, too large, or has a member that is no plain file at a safe place.
    """
    members, seen, num_left_out = list[Member](), set[str](), 0
    with _readable(name):
        for member, stream in _files(path, name, config):
            digest = sum_up(iter(partial(stream.read, _CHUNK_BYTES), b""))
            if _is_hidden(member):
                num_left_out += 1
                continue
            _require_safe(member, seen, name)
            members.append(Member(member, digest))
    if not members:
        raise ArchiveError(f"{name}: holds no file")
    inside = next(
        (member for member in seen if any(str(parent) in seen for parent in PurePosixPath(member).parents)), None
    )
    if inside:
        raise ArchiveError(f"{name}: member {inside!r:.200} lies in another member as in a folder; refused")
    return Survey(members, num_left_out)


def unpacked(path: Path, name: str, config: ArchiveConfig, draft: Path) -> Iterator[Member]:
    """Every file that `survey` named, in the same order, each written to `draft` before it is handed out.

    The caller may move the draft or leave it; it is gone at the end. Errors are those of `survey`, and StorageError
    where the disk refuses.
    """
    try:
        with _readable(name):
            for member, stream in _files(path, name, config):
                if not _is_hidden(member):
                    draft.unlink(missing_ok=True)  # it may be published by now, and have a second name
                    yield Member(member, _write(stream, draft))
    finally:
        draft.unlink(missing_ok=True)


def _write(stream: IO[bytes], draft: Path) -> Digest:
    def chunks(file: IO[bytes]) -> Iterator[bytes]:
        while chunk := stream.read(_CHUNK_BYTES):
            with translated(draft):
                file.write(chunk)
            yield chunk

    with translated(draft), draft.open("xb") as file:
        return sum_up(chunks(file))


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    """Whatever the standard library raises over the archive's bytes is an ArchiveError on one line."""
    try:
        yield
    except _BROKEN as error:
        reason = printable(" ".join(str(error).split())) or type(error).__name__
        kind = "needs more memory than archives.max_memory_gb" if isinstance(error, MemoryError) else "is damaged"
        raise ArchiveError(f"{name}: {kind}: {reason:.200}; get it again") from None
    except OSError as error:  # bz2 tells damage by it
        if error.errno is not None:
            raise
        raise ArchiveError(f"{name}: is damaged: {printable(str(error)):.200}; get it again") from None


def _files(path: Path, name: str, config: ArchiveConfig) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and bytes of every member that is a file; what is read is counted against the limits."""
    with path.open("rb") as file:
        start = file.read(512)
        file.seek(0)
        meter = _Meter(name, path.stat().st_size, config)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield from _zip_files(file, meter)
            return
        with _plain(file, start, name) as tar:
            yield from _tar_files(tar, meter)


def _plain(file: IO[bytes], start: bytes, name: str) -> contextlib.AbstractContextManager[Any]:
    """The tar in a file, unfolded where it is packed."""
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(file)
    if start.startswith(b"BZh"):
        return bz2.open(file)
    if start[257:262] == b"ustar":
        return contextlib.nullcontext(file)
    raise ArchiveError(f"{name}: is no zip, tar, tar.gz or tar.bz2; set unzip to false to keep it as it is")


class _Meter:
    """Counts what comes out of an archive."""

    def __init__(self, name: str, archive_bytes: int, config: ArchiveConfig) -> None:
        self.name, self.config = name, config
        self._archive_bytes = max(1, archive_bytes)
        self._num_bytes = self._num_members = 0

    def add_member(self) -> None:
        self._num_members += 1
        if self._num_members > self.config.max_members:
            raise self.too_large("members", f"{self.config.max_members}")

    def add_bytes(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        if self._num_bytes > self.config.max_unpacked_gb * 1e9:
            raise self.too_large("unpacked_gb", f"{self.config.max_unpacked_gb:g} GB unpacked")
        ratio = self._num_bytes / self._archive_bytes
        if self._num_bytes > _RATIO_FROM_BYTES and ratio > self.config.max_ratio:
            raise self.too_large("ratio", f"{self.config.max_ratio:g} times its own size unpacked, as bombs do")

    def too_large(self, key: str, what: str) -> ArchiveError:
        return ArchiveError(f"{self.name}: more than {what}; raise archives.max_{key} if that is right")


class _Metered(io.RawIOBase):
    """A stream of which every byte is counted once: going back and reading again is not."""

    def __init__(self, stream: Any, meter: _Meter, most_at_once: int | None = None) -> None:
        self._stream, self._meter, self._most_at_once = stream, meter, most_at_once
        self._position = self._counted = 0

    def read(self, size: int | None = -1) -> bytes:
        if self._most_at_once and (size is None or size < 0 or size > self._most_at_once):
            raise ArchiveError(f"{self._meter.name}: has a header of {size} bytes; it is no sound archive")
        data = bytes(self._stream.read(size))
        self._position += len(data)
        if self._position > self._counted:
            self._meter.add_bytes(self._position - self._counted)
            self._counted = self._position
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Forward by reading, so that what is passed over counts; back by the stream itself."""
        if whence != io.SEEK_SET:
            raise ValueError("only from the start")
        while self._position < offset and self.read(min(_CHUNK_BYTES, offset - self._position)):
            pass
        if self._position > offset:
            self._stream.seek(offset)
            self._position = offset
        return self._position


def _zip_files(file: IO[bytes], meter: _Meter) -> Iterator[tuple[str, IO[bytes]]]:
    _require_short_list(file, meter)
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            meter.add_member()
            name = info.orig_filename.replace("\\", "/")  # as some programs of Windows write it
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir() or name.endswith("/"):
                continue  # nothing is made of a folder by itself
            if kind not in {0, stat.S_IFREG}:
                raise ArchiveError(f"{meter.name}: {printable(name)!r:.200} is a link or device, no file; refused")
            if info.flag_bits & _ENCRYPTED:
                raise ArchiveError(f"{meter.name}: is encrypted; unpack it by hand")
            if info.compress_type not in _METHODS:
                raise ArchiveError(f"{meter.name}: is packed by a method that is not read ({info.compress_type})")
            with archive.open(info) as stream:
                yield name, cast("IO[bytes]", _Metered(stream, meter))


def _require_short_list(file: IO[bytes], meter: _Meter) -> None:
    """Look at the size of the list at the end of a zip before all of it is read into memory.

    Raises:
        ArchiveError: It has room for many more members than allowed, or there is no list.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 65_536 - 22 - 20 - 56))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise ArchiveError(f"{meter.name}: is damaged: it ends before its list of members; get it again")
    (list_bytes,) = struct.unpack_from("<I", tail, at + 12)
    if list_bytes == 0xFFFF_FFFF and (at64 := tail.rfind(b"PK\x06\x06")) >= 0:  # zip64
        (list_bytes,) = struct.unpack_from("<Q", tail, at64 + 40)
    if list_bytes > meter.config.max_members * _BYTES_PER_MEMBER:
        raise meter.too_large("members", f"{meter.config.max_members} members")


def _tar_files(file: IO[bytes], meter: _Meter) -> Iterator[tuple[str, IO[bytes]]]:
    metered = cast("IO[bytes]", _Metered(file, meter, _MAX_HEADER_BYTES))
    with tarfile.open(fileobj=metered, mode="r:") as archive:
        while (info := archive.next()) is not None:
            cast("Any", archive).members = []  # else every member ever seen stays in memory
            meter.add_member()
            if info.size < 0:  # would lead back, in circles
                raise ArchiveError(f"{meter.name}: is damaged: a member of {info.size} bytes; get it again")
            name = info.name.removeprefix("./")
            if info.isdir():
                continue
            if not info.isreg() or info.issparse():
                raise ArchiveError(f"{meter.name}: {printable(name)!r:.200} is a link or device, no file; refused")
            stream = archive.extractfile(info)
            if stream is not None:
                yield name, stream
    while metered.read(_CHUNK_BYTES):  # the sum of what was packed stands at its end
        pass


def _is_hidden(name: str) -> bool:
    """Whether no listing would show it, though its place is safe."""
    parts = name.split("/")
    is_safe = not {"", ".", ".."} & {*parts}
    return is_safe and (parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts))


def _require_safe(member: str, seen: set[str], name: str) -> None:
    """A member's place is below the target, and no other member's, nor a folder of one."""
    fault = fault_of_name(member)
    if not fault and member in seen:
        fault = "is there twice"
    if fault:
        raise ArchiveError(f"{name}: member {printable(member)!r:.200} {fault}; refused, nothing of it was unpacked")
    seen.add(member)
