"""A store that fails on purpose, for tests of what is built on a store: any store, seen through a bad network."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TypeVar

from mien.errors import AlreadyExists, StorageError
from mien.storage.uri import Entry, Store

T = TypeVar("T")

_MAX_HELD = 4
"""Late requests that wait; one more, and the oldest takes effect."""


class Fault(StrEnum):
    """What becomes of one request."""

    REFUSED = "refused"
    """Nothing is done, and an error says so."""
    LOST_REPLY = "lost reply"
    """It is done, and the reply is an error."""
    REPEATED = "repeated"
    """It is done, the reply is lost, and the client library asks again: the name that `put_new` wants is then taken."""
    LATE = "late"
    """The reply is an error, and it is done some requests later."""


Choose = Callable[[str, str], Fault | None]
"""(method of the store, name) -> what goes wrong with this request, if anything."""


class FaultyStore:
    """Passes every request on to a store, except for what goes wrong; safe to use from several threads."""

    def __init__(self, store: Store, choose: Choose) -> None:
        """`choose` is asked once for every request."""
        self._store, self._choose = store, choose
        self._lock = threading.Lock()
        self._held = deque[Callable[[], None]]()
        self.fired = Counter[tuple[str, Fault]]()
        """How often each fault happened to each method."""

    @property
    def uri(self) -> str:
        """Place of the store behind it."""
        return self._store.uri

    def put_new(self, name: str, data: bytes) -> None:
        """See `Store`."""
        self._change("put_new", name, partial(self._store.put_new, name, data))

    def replace(self, name: str, data: bytes) -> None:
        """See `Store`."""
        self._change("replace", name, partial(self._store.replace, name, data))

    def publish(self, path: Path, name: str) -> None:
        """See `Store`."""
        late = partial(self._store.put_new, name, path.read_bytes())  # the file may be gone by then
        self._change("publish", name, partial(self._store.publish, path, name), late)

    def replace_file(self, path: Path, name: str) -> None:
        """See `Store`."""
        late = partial(self._store.replace, name, path.read_bytes())
        self._change("replace_file", name, partial(self._store.replace_file, path, name), late)

    def delete(self, name: str) -> None:
        """See `Store`."""
        self._change("delete", name, partial(self._store.delete, name))

    def read(self, name: str) -> bytes:
        """See `Store`."""
        return self._look("read", name, partial(self._store.read, name))

    def fetch(self, name: str) -> Path:
        """See `Store`."""
        return self._look("fetch", name, partial(self._store.fetch, name))

    def stat(self, name: str) -> Entry:
        """See `Store`."""
        return self._look("stat", name, partial(self._store.stat, name))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See `Store`; the listing is made at once."""
        return iter(self._look("list", prefix, lambda: tuple(self._store.list(prefix))))

    def scratch(self) -> Path:
        """See `Store`; never fails."""
        return self._store.scratch()

    def clear_scratch(self) -> None:
        """See `Store`; never fails."""
        self._store.clear_scratch()

    def land(self, keep: int = 0) -> None:
        """Let late requests take effect, the oldest first, until `keep` are left."""
        while True:
            with self._lock:
                if len(self._held) <= keep:
                    return
                request = self._held.popleft()
            request()

    def _change(self, method: str, name: str, do: Callable[[], None], late: Callable[[], None] | None = None) -> None:
        fault = self._next(method, name)
        if fault is Fault.LATE:
            with self._lock:
                self._held.append(partial(_unless_taken, late or do))
        elif fault is not Fault.REFUSED:
            do()
        if fault is Fault.REPEATED and method == "put_new":
            raise AlreadyExists(f"{name}: exists already")
        if fault not in {None, Fault.REPEATED}:
            raise StorageError(f"{name}: connection reset")

    def _look(self, method: str, name: str, do: Callable[[], T]) -> T:
        if self._next(method, name) not in {None, Fault.REPEATED}:
            raise StorageError(f"{name}: connection reset")
        return do()

    def _next(self, method: str, name: str) -> Fault | None:
        self.land(_MAX_HELD)
        with self._lock:
            fault = self._choose(method, name)
            if fault is not None:
                self.fired[method, fault] += 1
        return fault


def _unless_taken(request: Callable[[], None]) -> None:
    """Nobody waits any more for the answer of a late request."""
    try:
        request()
    except AlreadyExists:
        return
