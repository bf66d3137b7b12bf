"""Traffic: how many requests of each kind came, and how many bytes of bodies went in and out."""

import threading
from collections import defaultdict
from typing import NamedTuple


class Traffic(NamedTuple):
    """What one kind of request has moved."""

    num_requests: int = 0
    received_bytes: int = 0
    served_bytes: int = 0
    """Bytes of bodies handed to the network, also of replies that the client did not read to their end."""

    def plus(self, other: "Traffic") -> "Traffic":
        """Both together."""
        return Traffic(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Meter:
    """Counts requests by kind, as `objects.read` or `buckets.get`."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock = threading.Lock()
        self._kinds: dict[str, Traffic] = defaultdict(Traffic)

    def add(self, kind: str, traffic: Traffic) -> None:
        """Count."""
        with self._lock:
            self._kinds[kind] = self._kinds[kind].plus(traffic)

    def read(self) -> dict[str, Traffic]:
        """The counts so far."""
        with self._lock:
            return dict(self._kinds)

    def reset(self) -> None:
        """Begin at zero again."""
        with self._lock:
            self._kinds.clear()
