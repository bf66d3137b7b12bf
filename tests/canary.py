"""Two witnesses: a file that tells how often it was opened, and a port that tells how often somebody called."""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECRET = b"the canary's song 7f3a91"
_IN_OPEN = 0x20
_EVENT = struct.Struct("iIII")


class Canary:
    """Counts openings of a file by anyone in this machine, through inotify (Linux); what libraries do in C counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        libc = ctypes.CDLL(None, use_errno=True)
        self._watch = libc.inotify_init1(os.O_NONBLOCK)
        if self._watch < 0 or libc.inotify_add_watch(self._watch, os.fsencode(path), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify")

    def num_openings(self) -> int:
        """Since the last call; like events that nobody has read yet are told once."""
        try:
            events = os.read(self._watch, 1 << 16)
        except BlockingIOError:
            return 0
        return len(events) // _EVENT.size

    def close(self) -> None:
        os.close(self._watch)


@contextmanager
def watched(path: Path, content: bytes = SECRET) -> Iterator[Canary]:
    """A canary that was seen to work: it notices one opening, and has forgotten it when it is handed over."""
    path.write_bytes(content)
    canary = Canary(path)
    try:
        path.read_bytes()
        assert canary.num_openings() == 1
        yield canary
    finally:
        canary.close()


class Listener:
    """A port on loopback that nobody should call."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.port = int(server.getsockname()[1])

    def num_calls(self) -> int:
        """Connections that wait to be accepted, each counted once."""
        count = 0
        while True:
            try:
                self._server.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener that was seen to work."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        server.setblocking(False)
        listener = Listener(server)
        socket.create_connection(("127.0.0.1", listener.port), 5).close()
        assert listener.num_calls() == 1
        yield listener
