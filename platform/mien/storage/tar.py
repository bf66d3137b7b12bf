"""Members of an uncompressed tar: where each lies, from the headers alone; and how a member is written as a place.

A tar that is read here may be a stranger's: a name in it is only a name and never a path, a header may be so large and
no larger, and what claims to lie before the last member, or beyond the end, is damage.
"""

import contextlib
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, cast

from mien.errors import StorageError
from mien.log import printable

Fetch = Callable[[int, int], bytes]
"""Bytes [start, stop) of a file or object."""

WINDOW_BYTES = 8 << 10
"""What one request brings: a header, the small files beside a video, and the next header."""

MAX_HEADER_BYTES = 32 << 10
"""Of one member, all its headers together: a name has a few hundred bytes."""

MAX_MEMBERS = 1_000_000
"""The names of one tar are in memory together."""

_BLOCK_BYTES = 512
_END_BYTES = 1 << 20
"""A tar may be padded behind its end mark up to a record of a tape."""
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_DIGITS = re.compile(rb"[0-9]{1001}")
"""Python's reader takes time with the square of a number's length (CVE-2024-6232); a part of a name has 255 bytes."""
_MEMBER = re.compile(r"(.+?\.tar)#([0-9]{1,18}):(.+)", re.IGNORECASE | re.DOTALL)


class Member(NamedTuple):
    """One file in a tar."""

    name: str
    """As the tar has it."""
    offset: int
    """Of its first byte, in the tar."""
    size_bytes: int
    problem: str = ""
    """Why its bytes are not simply there, and what to do; empty for a plain file."""


class Packed(NamedTuple):
    """Where the bytes of a member lie."""

    tar: str
    """Place of the tar."""
    offset: int
    name: str


def is_tar(place: str) -> bool:
    """Whether a name is that of a tar, by its ending."""
    return place.lower().endswith(".tar")


def member_uri(tar: str, member: Member) -> str:
    """A member as a place: the offset in it tells a worker where to read, without the headers before it."""
    return f"{tar}#{member.offset}:{member.name}"


def split_member(uri: str) -> Packed | None:
    """The tar, the offset and the name of a place that `member_uri` made; None for any other place."""
    match = _MEMBER.fullmatch(uri)
    return Packed(match[1], int(match[2]), match[3]) if match else None


class TarReader:
    """Reads the headers of a tar, one after the other, and passes over what lies between them."""

    def __init__(self, fetch: Fetch, size_bytes: int, place: str) -> None:
        """Nothing is read yet; `place` is what messages call the tar."""
        self._file, self._place, self._size = _Window(fetch, size_bytes), place, size_bytes

    def members(self) -> Iterator[Member]:
        """Every member but folders, in the order of the tar; what is damaged is told after those before it.

        Raises:
            StorageError: It is not a tar, compressed, cut off, or damaged.
        """
        self._require_tar()
        tar, last_offset, num_members = self._open(), -1, 0
        while (info := self._next(tar)) is not None:
            num_members += 1
            if info.offset <= last_offset or info.size < 0:
                raise self._damaged(f"its headers lead back at byte {last_offset}")
            if num_members > MAX_MEMBERS:
                raise StorageError(f"{self._place}: holds over {MAX_MEMBERS} members; pack them as several tars")
            last_offset = info.offset
            if not info.isdir():
                yield self._member(info, tar.offset)
        self._require_end(tar.offset)

    def read(self, member: Member) -> bytes:
        """All bytes of one small member."""
        return self._file.range(member.offset, member.offset + member.size_bytes)

    def _member(self, info: tarfile.TarInfo, end: int) -> Member:
        if end > self._size:
            num_missing, name = end - self._size, printable(info.name)
            raise self._damaged(f"it is cut off within {name}: at least {num_missing} bytes are missing at the end")
        return Member(info.name, info.offset_data, info.size, _problem(info))

    def _require_tar(self) -> None:
        if not self._size:
            raise self._damaged("it is empty")
        start = self._file.range(0, min(_BLOCK_BYTES, self._size))
        kind = next((kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)), "")
        if kind:
            raise StorageError(f"{self._place}: is compressed ({kind}); unpack it to a plain tar")

    def _open(self) -> tarfile.TarFile:
        with self._translated():
            return tarfile.open(fileobj=cast("BinaryIO", self._file), mode="r:")

    def _next(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        self._file.budget = MAX_HEADER_BYTES
        tar.members.clear()  # type: ignore[attr-defined]  # it would keep every member
        with self._translated():
            return tar.next()

    def _require_end(self, offset: int) -> None:
        """A reader of tars ends in silence at whatever is no header: an end must be one."""
        block = self._file.range(offset, min(offset + _BLOCK_BYTES, self._size))
        if len(block) < _BLOCK_BYTES:
            raise self._damaged("it has no end mark, so that it is cut off")
        if any(block):
            raise self._damaged(f"there is no header at byte {offset}")
        if self._size - offset > _END_BYTES:
            what = f"{self._size - offset} bytes follow its end mark, as where tars were joined byte by byte"
            raise StorageError(f"{self._place}: {what}; pack the members as one tar, or as several")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn whatever a damaged header makes of Python's reader into one error."""
        try:
            yield
        except (tarfile.TarError, ValueError, LookupError, ArithmeticError, RecursionError) as error:
            raise self._damaged(str(error).partition("\n")[0][:100]) from None

    def _damaged(self, what: str) -> StorageError:
        return StorageError(f"{self._place}: is not a sound tar: {what}; copy or pack it again")


def _problem(info: tarfile.TarInfo) -> str:
    if info.issparse():
        return "is stored as a sparse file in the tar; pack it without --sparse"
    if info.issym() or info.islnk():
        return "is a link in the tar; pack the file itself (tar --dereference --hard-dereference)"
    return "" if info.isreg() else "is no file in the tar, but a device or something unknown"


class _Window:
    """A file that is read by header: one range around the position is kept, and reads are counted against a budget."""

    def __init__(self, fetch: Fetch, size_bytes: int) -> None:
        self._fetch, self._size = fetch, size_bytes
        self._position = self._start = 0
        self._kept = b""
        self.budget = MAX_HEADER_BYTES

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int) -> int:
        if offset < 0:
            raise ValueError("a header leads before the start")
        self._position = offset
        return offset

    def read(self, num_bytes: int) -> bytes:
        self.budget -= num_bytes
        if num_bytes < 0 or self.budget < 0:
            raise ValueError(f"a header of over {MAX_HEADER_BYTES} bytes")
        data = self.range(self._position, min(self._position + num_bytes, self._size))
        if _DIGITS.search(data):
            raise ValueError("a header with a number of over 1,000 digits")
        self._position += len(data)
        return data

    def range(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop), no further than the end."""
        if start >= stop:
            return b""
        if start < self._start or stop > self._start + len(self._kept):
            self._start, self._kept = start, self._fetch(start, min(max(stop, start + WINDOW_BYTES), self._size))
        return self._kept[start - self._start : stop - self._start]
