"""What a container's header says and PyAV does not show: orientation, claimed size, whether the file was cut."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np

MAX_BOXES = 100_000
"""Boxes looked at on one level; a fragmented file has two per fragment."""


MIN_HIDDEN_BYTES = 64 << 10
"""The index of a track that nobody reads is passed over from this size on: it is worth a request."""

FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp")
"""What an mp4 or mov file begins with."""


class Readable(Protocol):
    """As much of a binary file as a header needs."""

    def read(self, size: int, /) -> bytes:
        """The next bytes."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move; the new position."""


class Matrix(NamedTuple):
    """Right-angle part of a display matrix: a stored pixel (x, y) is shown at (a x + c y, b x + d y), y down."""

    a: int
    b: int
    c: int
    d: int

    @property
    def rotation_deg(self) -> int:
        """Counter-clockwise turn that makes the stored picture upright: -90, 0, 90 or 180."""
        quarters = round(float(np.degrees(np.arctan2(-self.b, self.a))) / 90)
        return {0: 0, 1: 90, -1: -90}.get(quarters, 180)

    @property
    def is_transposed(self) -> bool:
        """Whether stored rows are shown as columns."""
        return abs(self.c) > abs(self.a)

    def upright(self, rgb: np.ndarray) -> np.ndarray:
        """The picture [H, W, 3] as it is meant to be seen, turned and mirrored: a view."""
        if not self.is_transposed:
            return rgb[:: -1 if self.d < 0 else 1, :: -1 if self.a < 0 else 1]
        return rgb.transpose(1, 0, 2)[:: -1 if self.b < 0 else 1, :: -1 if self.c < 0 else 1]


IDENTITY = Matrix(1, 0, 0, 1)


class Track(NamedTuple):
    """One track header (tkhd) of an mp4 or mov file."""

    track_id: int
    matrix: Matrix
    width_px: int
    height_px: int


def tracks(file: Readable) -> list[Track]:
    """Track headers in file order; empty for other containers (ISO 14496-12, sections 8.2, 8.3)."""
    found = [_track(file, start) for start in _inside(file, *_moov(file), b"trak", b"tkhd")]
    return [track for track in found if track]


def extents(file: Readable) -> Iterator[tuple[float, float]]:
    """Start and length in seconds of the tracks of an mp4 or mov file that say so without their samples.

    Those without an edit list, or with one edit (mdhd, elst; ISO 14496-12, sections 8.4.2 and 8.6.6); none for other
    containers.
    """
    start, stop = _moov(file)
    movie = _clock(file, next(_inside(file, start, stop, b"mvhd"), None))
    for kind, body, end in _boxes(file, start, stop):
        if kind == b"trak" and (length := _length(file, body, min(end, stop), movie)):
            yield 0.0, float(length)


def max_samples(file: Readable) -> int:
    """The largest number of samples that a track of an mp4 or mov file claims (stsz; ISO 14496-12, section 8.7.3).

    Samples of one size take no room in the table, so that twenty bytes can claim four thousand million; whoever reads
    the file gives memory to each.
    """
    counts = [0]
    for start in _inside(file, *_moov(file), b"trak", b"mdia", b"minf", b"stbl", b"stsz"):
        file.seek(start + 8)
        counts.append(int.from_bytes(file.read(4)))
    return max(counts)


def missing_bytes(file: Readable) -> int:
    """Bytes that the outermost element claims beyond the end of the file: 0 when whole or when it cannot be told."""
    size = num_bytes(file)
    file.seek(0)
    head = file.read(64)
    if head[:4] == b"RIFF":
        end = 8 + int.from_bytes(head[4:8], "little")
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        end = _segment_end(head)
    elif head[4:8] in FIRST_BOXES:
        end = max((stop for _, _, stop in _boxes(file, 0, size)), default=0)
    else:
        end = 0
    return max(0, end - size)


def expect_index(file: Readable, *, with_sound: bool = True) -> list[int]:
    """Tell a file that fetches what is read of it how far the index of an mp4 or mov file goes.

    Returns:
        Without sound, where the kinds of the boxes stand (`trak`) that are large, not for pictures, and not told of.
    """
    start, stop = _moov(file)
    hidden = [] if with_sound else _other_tracks(file, start, stop)
    for body, end in hidden:
        expect(file, start, body)
        start = end
    expect(file, start, stop)
    return [body - 4 for body, _ in hidden]


def expect(file: Readable, start: int, stop: int) -> None:
    """Tell a file that fetches what is read of it (`storage.ranges`) how far one will read from `start` on."""
    announce = getattr(file, "expect", None)
    if announce is not None:
        announce(start, stop)


def num_bytes(file: Readable) -> int:
    """Size of a seekable file; moves its position."""
    return file.seek(0, 2)


def _moov(file: Readable) -> tuple[int, int]:
    """Body of the first movie box, the only one that is read; empty where there is none."""
    size = num_bytes(file)
    for kind, start, stop in _boxes(file, 0, size):
        if kind == b"moov":
            return start, min(stop, size)
    return 0, 0


def _other_tracks(file: Readable, start: int, stop: int) -> list[tuple[int, int]]:
    """Bodies of the large tracks that are no pictures, beside one that is; what may hide no such one is not read."""
    tracks = dict[tuple[int, int], bytes]()
    for kind, body, end in _boxes(file, start, stop):
        if kind == b"trak":
            tracks[body, min(end, stop)] = _handler(file, body, min(end, stop))
        if stop - end < MIN_HIDDEN_BYTES:
            break
    if b"vide" not in tracks.values():
        return []
    return [span for span, handler in tracks.items() if handler != b"vide" and span[1] - span[0] >= MIN_HIDDEN_BYTES]


def _handler(file: Readable, start: int, stop: int) -> bytes:
    """What the samples of a track are (hdlr; ISO 14496-12, section 8.4.3): `vide`, `soun` ...; `vide` if in doubt."""
    file.seek(start - 4)
    is_plain = file.read(4) == b"trak"  # not before the body where the size has 64 bits
    for body in _inside(file, start, stop, b"mdia", b"hdlr"):
        file.seek(body + 8)
        return file.read(4) if is_plain else b"vide"
    return b"vide"


def _inside(file: Readable, start: int, stop: int, kind: bytes, *deeper: bytes) -> Iterator[int]:
    """Bodies of all boxes at a path within [start, stop); none reaches beyond the one around it."""
    for found, body, end in _boxes(file, start, stop):
        if found == kind and not deeper:
            yield body
        elif found == kind:
            yield from _inside(file, body, min(end, stop), *deeper)


def _boxes(file: Readable, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of the body and claimed end of the boxes that begin in [start, stop)."""
    for _ in range(MAX_BOXES):
        if start + 8 > stop:
            return
        file.seek(start)
        head = file.read(16)
        size, kind, body = int.from_bytes(head[:4]), head[4:8], start + 8
        if size == 1:
            size, body = int.from_bytes(head[8:16]), start + 16
        end = start + size if size else stop
        if end < body:
            return
        yield kind, body, end
        start = end


def _track(file: Readable, start: int) -> Track | None:
    file.seek(start)
    body = file.read(96)
    at = 52 if body[:1] == b"\x01" else 40
    if len(body) < at + 44:
        return None
    track_id = int.from_bytes(body[20:24] if at == 52 else body[12:16])
    a, b, _, c, d, _, _, _, _, width, height = struct.unpack(">9i2I", body[at : at + 44])
    return Track(track_id, Matrix(a, b, c, d), width >> 16, height >> 16)


class _Clock(NamedTuple):
    """What mvhd and mdhd have in common: a length, and its unit in 1/s."""

    timescale: int
    duration: int


def _clock(file: Readable, start: int | None) -> _Clock:
    """Zeros where there is none."""
    file.seek(start or 0)
    body = (file.read(32) if start else b"").ljust(32, b"\0")
    return _Clock(*(struct.unpack_from(">IQ", body, 20) if body[0] == 1 else struct.unpack_from(">II", body, 12)))


def _length(file: Readable, start: int, stop: int, movie: _Clock) -> Fraction:
    """Seconds that a track shows, rounded to its unit as FFmpeg does; 0 where its edits leave that to its samples."""
    media = _clock(file, next(_inside(file, start, stop, b"mdia", b"mdhd"), None))
    if not media.timescale or not movie.timescale:
        return Fraction(0)
    ticks = media.duration
    for body in _inside(file, start, stop, b"edts", b"elst"):
        file.seek(body)
        edits = file.read(24).ljust(24, b"\0")
        duration, media_time = struct.unpack_from(">Qq" if edits[0] == 1 else ">Ii", edits, 8)
        if int.from_bytes(edits[4:8]) != 1 or media_time < 0:
            return Fraction(0)
        ticks = min(ticks, round(Fraction(duration * media.timescale, movie.timescale)))
    return Fraction(ticks, media.timescale)


def _segment_end(head: bytes) -> int:
    """End of a Matroska segment, 0 when its size is left open (RFC 8794, section 4)."""
    size, used = _vint(head[4:])
    segment = 4 + used + size
    if head[segment : segment + 4] != b"\x18\x53\x80\x67":
        return 0
    size, used = _vint(head[segment + 4 :])
    return 0 if size == (1 << 7 * used) - 1 else segment + 4 + used + size


def _vint(data: bytes) -> tuple[int, int]:
    """Value and length of an EBML variable-size integer."""
    used = 9 - data[0].bit_length() if data and data[0] else 8
    return int.from_bytes(data[:used]) & ((1 << 7 * used) - 1), used
