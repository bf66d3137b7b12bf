"""Caps of a worker process that reads strangers' bytes: a hog becomes its own failure, not the machine's."""

import contextlib
import ctypes
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

_lock = threading.Lock()
_standing: list[tuple[int, int]] = []
"""The limits to go back to, once for each block that is at work."""


@contextmanager
def memory_cap(num_bytes: int | None) -> Iterator[None]:
    """Let this process take at most so much more memory inside the block; beyond that a request fails: MemoryError.

    What counts is private, writable memory (RLIMIT_DATA): what models and libraries hold already, mapped files and
    Ray's object store do not. The cap is of the whole process: blocks at work in several threads share that of the
    first. On systems other than Linux, where the limit does not hold what is mapped, there is none.
    """
    if num_bytes is None or sys.platform != "linux":
        yield
        return
    with _lock:
        _standing.append(_standing[0] if _standing else _lower(num_bytes))
    try:
        yield
    finally:
        with _lock:
            limits = _standing.pop()
            if not _standing:
                resource.setrlimit(resource.RLIMIT_DATA, limits)


def _lower(num_bytes: int) -> tuple[int, int]:
    """Set the cap; returns the limits that stood before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    cap = data_bytes() + num_bytes
    others = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([cap, *others]), hard))
    return soft, hard


def data_bytes() -> int:
    """Private, writable memory that this process has mapped, whether used or not (Linux; proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def give_back() -> None:
    """Hand memory that was freed to the system, between pieces still in use, too, and what Arrow keeps of a shard."""
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(AttributeError):  # a C library without it keeps what it likes
        ctypes.CDLL(None).malloc_trim(0)


def leave_no_core() -> None:
    """A crash of this process leaves no image of its memory, which holds faces, on the disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
