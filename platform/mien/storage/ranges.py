"""A large object as a seekable file: ranges are fetched when they are read, and further ahead the longer one reads on.

Made for video containers: a few boxes at the start, an index at either end, then runs of frames from where a seek led.
Who knows what is read next says so (`expect`), and it comes in one request.
"""

import io
from collections import OrderedDict
from collections.abc import Callable

MIN_FETCH_BYTES = 8 << 10
"""What one request brings at least: a box and its neighbours; also what FFmpeg is let read at once."""
MAX_FETCH_BYTES = 4 << 20
TAIL_BYTES = 256 << 10
"""What is left after a request, if it is no more than this, comes with it: an index at the end is read in one."""
MAX_KEPT_BYTES = 32 << 20
"""Bytes kept, the longest unread dropped first: the index of a film and what lies around the reader."""


Kept = OrderedDict[int, bytes]
"""Start of a range -> its bytes, the last read one at the end."""


class RangeFile(io.RawIOBase):
    """A file over `fetch(start, stop) -> bytes`; `read` gives all that was asked for, short only at the end."""

    tail_bytes = TAIL_BYTES

    def __init__(
        self, fetch: Callable[[int, int], bytes], size_bytes: int, name: str, kept: Kept | None = None
    ) -> None:
        """Nothing is fetched yet; `name` is what messages call the file, `kept` what an earlier reader of it left."""
        self.name = name
        self._fetch, self._size = fetch, size_bytes
        self._position = self._run_start = self._run_stop = 0
        self._kept = Kept() if kept is None else kept
        self._expected = set[tuple[int, int]]()

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; positions beyond the end read as nothing."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self.name}: cannot seek to {base + offset}, before the start")
        self._position = base + offset
        return self._position

    def expect(self, start: int, stop: int) -> None:
        """What will be read from `start` on goes to `stop`: it then comes in one request."""
        self._expected.add((start, stop))

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes."""
        wanted = self._wanted(size)
        parts = list[bytes]()
        while wanted > 0:
            parts.append(self.read_some(wanted))
            wanted -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_some(self, size: int | None = -1) -> bytes:
        """Those of the next bytes that are kept, or else that one request brings: for who reads more than is needed."""
        wanted = self._wanted(size)
        part = self._part(wanted) if wanted > 0 else b""
        self._position += len(part)
        return part

    def _wanted(self, size: int | None) -> int:
        left = self._size - self._position
        return left if size is None or size < 0 else min(size, left)

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _part(self, wanted: int) -> bytes:
        """Bytes from the position to the end of one kept range, at most `wanted`."""
        start = next((start for start, data in self._kept.items() if 0 <= self._position - start < len(data)), None)
        if start is None:
            start = self._first_missing()
            self._keep(start, self._more(start, self._position - start + wanted))
        self._kept.move_to_end(start)
        offset = self._position - start
        return self._kept[start][offset : offset + wanted]

    def _first_missing(self) -> int:
        """Where a request begins: at the position, or before it if what is expected begins there and is not kept."""
        begin = min((start for start, stop in self._expected if start <= self._position < stop), default=self._position)
        ends = [start + len(data) for start, data in self._kept.items() if start <= self._position]
        start = max(begin, *ends) if ends else begin
        return start if self._position - start < MAX_FETCH_BYTES // 2 else self._position

    def _more(self, start: int, wanted: int) -> bytes:
        """One request from `start` on: what is expected, or as much again as was read on without being told."""
        if start != self._run_stop:
            self._run_start = start
        expected = self._expected_bytes()
        ahead = self._position - start + expected if expected else max(start - self._run_start, MIN_FETCH_BYTES)
        stop = start + min(max(ahead, wanted), MAX_FETCH_BYTES)
        known = min((other for other in self._kept if other > self._position), default=self._size)
        stop = min(self._size if self._size - stop <= self.tail_bytes and not expected else stop, known)
        data = self._fetch(start, stop)
        if len(data) != stop - start:
            raise OSError(f"{self.name}: {len(data)} bytes came instead of {stop - start}")
        self._run_stop = stop
        self._run_start = stop if expected else self._run_start
        return data

    def _expected_bytes(self) -> int:
        """Bytes from the position on that were announced; 0 where none were."""
        stops = [stop for start, stop in self._expected if start <= self._position]
        return max(0, min(self._size, max(stops, default=0)) - self._position)

    def _keep(self, start: int, data: bytes) -> None:
        self._kept[start] = data
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > MAX_KEPT_BYTES:
            self._kept.popitem(last=False)


class Glance(RangeFile):
    """Of which little is read, here and there: nothing comes but what is asked for and its neighbours."""

    tail_bytes = 0
