"""The way out of a C library that hangs: the process ends, and whoever started it counts that."""

import contextlib
import faulthandler
from collections.abc import Iterator

STDERR = 2


@contextlib.contextmanager
def process_ends_after(timeout_s: float) -> Iterator[None]:
    """End this process with exit code 1 and its stacks on stderr, if the block takes longer.

    The watchdog is a thread of C that does not wait for the interpreter: also a call that never returns and holds the
    interpreter's lock is ended. A process has one, so that blocks do not nest.
    """
    faulthandler.dump_traceback_later(timeout_s, exit=True, file=STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
