"""What an ingest says while it works: a live table of the items at work on a terminal, otherwise one line per 30 s."""

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mien.datasets.status import duration
from mien.log import printable
from mien.pipelines.ingest_item import DONE, DOWNLOADING, FAILED, KEPT
from mien.pipelines.shown import Shown

_TELL_EVERY_S = 0.5
_RECENT_S = 60.0
_MAX_SHOWN = 20


class Work(NamedTuple):
    """One item at work."""

    name: str
    state: str
    num_bytes: int
    size_bytes: int | None
    """None where nobody knows."""
    since: float
    """Of the item, by the clock of the board."""


class Seen(NamedTuple):
    """The board at one moment."""

    work: dict[str, Work]
    received_bytes: int
    """That were downloaded in this run."""
    now: float


class Board:
    """Who is at work on what, as a Ray actor; it holds the items at work and no others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nobody; the clock may be any that does not jump."""
        self._clock = clock
        self._work = dict[str, Work]()
        self._received_bytes = 0

    def tell(self, key: str, name: str, state: str, num_bytes: int, size_bytes: int | None) -> None:
        """A worker says how far it is."""
        now, before = self._clock(), self._work.get(key)
        if state == DOWNLOADING and before is not None and before.state == state:
            self._received_bytes += max(0, num_bytes - before.num_bytes)
        self._work[key] = Work(name, state, num_bytes, size_bytes, before.since if before else now)

    def end(self, key: str) -> None:
        """An item has ended, or its worker is gone."""
        self._work.pop(key, None)

    def look(self) -> Seen:
        """What is known now."""
        return Seen(dict(self._work), self._received_bytes, self._clock())


class Teller:
    """A worker's way to the board: a call per state, and a few per second within one."""

    def __init__(self, board: Any, key: str, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """For one item."""
        self._board, self._key, self._name, self._clock = board, key, name, clock
        self._state, self._told_at = "", 0.0

    def __call__(self, state: str, num_bytes: int, size_bytes: int | None) -> None:
        """See `mien.pipelines.ingest_item.Watch`."""
        now = self._clock()
        is_end = size_bytes is not None and num_bytes >= size_bytes
        if state != self._state or is_end or now - self._told_at >= _TELL_EVERY_S:
            self._state, self._told_at = state, now
            self._board.tell.remote(self._key, self._name, state, num_bytes, size_bytes)


class Progress(Shown):
    """Shows the board and the counts of the driver until the run ends."""

    def __init__(
        self, look: Callable[[], Seen], num_items: int, num_before: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Of `num_items` listed, `num_before` were done by earlier runs."""
        super().__init__()
        self._look, self._num_items, self._num_before, self._clock = look, num_items, num_before, clock
        self.ended = Counter[str]()
        """Items that ended in this run, by state; the driver counts."""
        self._looks = deque([(clock(), 0, Seen({}, 0, 0.0))])

    def update(self) -> None:
        """Look at the board."""
        self.see(self._look())

    def lines(self) -> list[str]:
        """One line."""
        return [self.line()]

    def see(self, seen: Seen) -> None:
        """Take note; what lies further back than the rates reach is forgotten, but for one look."""
        now = self._clock()
        self._looks.append((now, self.ended.total(), seen))
        while len(self._looks) > 2 and now - self._looks[1][0] >= _RECENT_S:
            self._looks.popleft()

    def picture(self) -> Group:
        """The table of the items at work, and below it what a line says."""
        return Group(self.table(), Text(self.line()))

    def table(self) -> Table:
        """Item, what is done with it, bytes, share, time."""
        table = Table(box=None, pad_edge=False)
        for heading in ("item", "state", "MB", "share", "for"):
            table.add_column(heading, justify="left" if heading in {"item", "state"} else "right", no_wrap=True)
        seen = self._looks[-1][2]
        for work in list(seen.work.values())[:_MAX_SHOWN]:
            share = f"{work.num_bytes / work.size_bytes:.0%}" if work.size_bytes else ""
            megabytes = f"{work.num_bytes / 1e6:.1f}" if work.num_bytes else ""
            age = duration(max(0.0, seen.now - work.since))
            table.add_row(Text(printable(work.name)[-60:]), work.state, megabytes, share, age)
        return table

    def line(self) -> str:
        """One line: share done, bytes and pace, who is at work, failures, time left."""
        num_done = min(self._num_items, self._num_before + self.ended.total())
        words = [f"{num_done}/{self._num_items} items", f"{100 * num_done / max(1, self._num_items):.0f} %"]
        (then, before, first), (now, ended, last) = self._looks[0], self._looks[-1]
        elapsed = max(1e-9, now - then)
        words.append(f"{last.received_bytes / 1e6:.1f} MB")
        if last.received_bytes > first.received_bytes:
            words.append(f"{(last.received_bytes - first.received_bytes) / elapsed / 1e6:.1f} MB/s")
        states = Counter(work.state for work in last.work.values())
        words += [f"{count} {state}" for state, count in sorted(states.items())]
        words += [f"{self.ended[state]} {state}" for state in (KEPT, FAILED) if self.ended[state]]
        if ended > before and num_done < self._num_items:
            words.append(f"{duration(elapsed / (ended - before) * (self._num_items - num_done))} left")
        return "  ".join(words)


def counts_of(ended: Counter[str]) -> str:
    """What a run did, in words."""
    return ", ".join(f"{ended[state]} {state}" for state in (DONE, KEPT, FAILED) if ended[state]) or "nothing to do"
