"""What others want of a worker between two steps: that it saves, because its machine goes or the run is made larger.

The training thread looks at it once a step; the worker's main thread, which Ray calls, writes it.
"""

import threading
import time
from typing import Protocol

HOLD_S = 60.0
"""How long a worker that was told to stop waits to be ended before it goes on."""

MARGIN_S = 5.0
"""Before the moment at which a machine is taken away, the run is saved a last time; twice the last save, at least."""


class Notices(Protocol):
    """Where a worker learns that it must save."""

    def wants_hold(self) -> bool:
        """Whether it is to save, and to stop until it is ended."""

    def deadline_s(self) -> float | None:
        """Unix time at which a machine of the run is taken away; None while none is known to go."""


class NoNotices:
    """Of a worker that nobody takes away."""

    def wants_hold(self) -> bool:
        """Never."""
        return False

    def deadline_s(self) -> float | None:
        """None."""
        return None


class Holding:
    """A request to this process to hold, and its answer; there is one of it in a process."""

    def __init__(self) -> None:
        """Nobody asked."""
        self._asked, self._held = threading.Event(), threading.Event()

    def ask(self) -> None:
        """Ask the training thread to save and to stop."""
        self._asked.set()

    def is_asked(self) -> bool:
        """Whether somebody did."""
        return self._asked.is_set()

    def is_held(self, timeout_s: float) -> bool:
        """Whether it did, after waiting for it."""
        return self._held.wait(timeout_s)

    def hold(self, seconds: float) -> None:
        """Say that all is saved, and wait to be ended; whoever is not goes on."""
        self._held.set()
        time.sleep(seconds)
        self._asked.clear()
        self._held.clear()


HOLDING = Holding()


class Leaving:
    """Decides when the notice of a machine that goes asks for a save: at once, and again shortly before it goes."""

    def __init__(self) -> None:
        """No notice was seen."""
        self._is_told = self._has_stopped = False

    def look(self, deadline_s: float | None, now_s: float, last_save_s: float) -> tuple[bool, bool]:
        """Whether to save now, and whether to stop after it; a machine that stays after all stops the run once."""
        if deadline_s is None:
            self._is_told = self._has_stopped = False
            return False, False
        is_last = not self._has_stopped and now_s >= deadline_s - max(MARGIN_S, 2 * last_save_s)
        is_first = not self._is_told
        self._is_told, self._has_stopped = True, self._has_stopped or is_last
        return is_first or is_last, is_last
