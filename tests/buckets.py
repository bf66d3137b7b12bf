"""Buckets for tests: what the emulator does wrong on purpose, and what it was asked for."""

import contextlib
from collections.abc import Iterator

from mien.storage.emulator import Emulator

BUCKET = "mien-test"


@contextlib.contextmanager
def failing(emulator: Emulator, match: str, fault: str, times: int = 1, skip: int = 0) -> Iterator[None]:
    """Requests that match meet the fault while the block runs, but for the first few, and at least one did."""
    emulator.faults([{"match": match, "fault": fault, "times": times, "skip": skip}])
    try:
        yield
        assert emulator.fired(), f"no request matched {match}"
    finally:
        emulator.faults([])


def read_from(emulator: Emulator) -> tuple[int, int]:
    """Requests and bytes of objects that were read since the traffic was reset."""
    traffic = [counts for kind, counts in emulator.traffic().items() if kind == "objects.read"]
    return sum(counts.num_requests for counts in traffic), sum(counts.served_bytes for counts in traffic)
