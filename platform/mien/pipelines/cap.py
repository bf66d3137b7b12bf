"""Caps of a worker process that reads strangers' bytes: a hog becomes its own failure, not the machine's."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def memory_cap(num_bytes: int | None) -> Iterator[None]:
    """Let this process take at most so much more memory inside the block; beyond that a request fails: MemoryError.

    What counts is private, writable memory (RLIMIT_DATA): what models and libraries hold already, mapped files and
    Ray's object store do not. The cap is of the whole process, so one block at a time; on systems other than Linux,
    where the limit does not hold what is mapped, there is none.
    """
    if num_bytes is None or sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    cap = data_bytes() + num_bytes
    others = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([cap, *others]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def data_bytes() -> int:
    """Private, writable memory that this process has mapped, whether used or not (Linux; proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def leave_no_core() -> None:
    """A crash of this process leaves no image of its memory, which holds faces, on the disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
