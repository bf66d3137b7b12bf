"""Ends that Python has no part in: a C library that hangs, and one that ends the process without a word."""

import contextlib
import faulthandler
import subprocess
import sys
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


_WORDS = (
    "mien: this process ended without a word (it was killed, or the node of Ray on this machine died); run the same "
    "command, it resumes"
)
_SPEAKER = "import sys; sys.stdin.read(1) or sys.exit(sys.argv[1])"


@contextlib.contextmanager
def last_words() -> Iterator[None]:
    """Have a child say what happened if this process ends within the block.

    Ray's core ends the process of a driver whose node dies under it, by `_exit` and with its own stderr shut.
    """
    words = [sys.executable, "-I", "-S", "-c", _SPEAKER, _WORDS]
    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as speaker:  # Ctrl-C is not for it
        try:
            yield
        finally:
            speaker.communicate(b".")
