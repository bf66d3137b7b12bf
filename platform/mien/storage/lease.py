"""A courtesy between live runs: `lease.json` says who is at work on a dataset, since when, and when it last beat.

Nothing is proved by it. Two runs that work side by side commit every shard once all the same (see `commit`) and only
do the work twice, so clocks may jump and a machine may stand still for an hour: at worst a run is refused for a minute
too long, or a second one begins beside the first, which sees at its next beat that its lease was taken, and stops.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from mien.errors import AlreadyExists, MienError, RefusedError, StorageError, Unavailable
from mien.log import logger
from mien.storage.commit import COMPLETE, new_write_id
from mien.storage.uri import Store

NAME = "lease.json"

BEAT_EVERY_S = 15.0
STALE_AFTER_S = 60.0
"""A lease that is this old, or this far in the future, is of a run that died or of a clock that jumped."""

_MAX_TRIES = 5
_JOIN_S = 10.0
"""How long the end of a run waits for a beat that hangs in the store."""


_GIVEN_UP = set[str]()
"""Runs of this process that ended in an outage and could not delete their lease."""


class Lease(NamedTuple):
    """Who is at work on a dataset."""

    run_id: str
    host: str
    machine: str
    """This boot of the machine, and the container: only there does the pid mean anything."""
    pid: int
    born: str
    """When the process started: a pid is given again. Empty where the system does not tell."""
    started_at: float
    """Unix time, by the clock of the host."""
    beat_at: float
    """Unix time of the last renewal, by the clock of the host."""

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """What `to_bytes` wrote; None for anything else, which holds nobody off."""
        try:
            found = json.loads(data)
            values: dict[str, Any] = {name: kind(found[name]) for name, kind in cls.__annotations__.items()}
        except (ValueError, KeyError, TypeError, OverflowError):
            return None
        return cls(**values)

    def to_bytes(self) -> bytes:
        """The object in the store."""
        return json.dumps(self._asdict(), indent=1).encode()

    def is_live(self, now: float) -> bool:
        """Whether its run may be at work: it beat lately, and its process is not known to have ended."""
        return abs(now - self.beat_at) < STALE_AFTER_S and not self.has_ended()

    def has_ended(self) -> bool:
        """Whether the run is gone for certain, which only its own machine can tell."""
        if self.run_id in _GIVEN_UP:
            return True
        if self.machine != _machine():
            return False
        try:
            return _born(self.pid) not in ("", self.born)
        except (ProcessLookupError, OverflowError):
            return True

    def __str__(self) -> str:
        return f"the run on {self.host} (pid {self.pid}) since {moment(self.started_at)}"


def moment(unix_s: float) -> str:
    """A point in time for a message, in UTC: who reads it may sit elsewhere. A clock may say anything."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_s))
    except (OverflowError, ValueError, OSError):
        return f"{unix_s:g} s by its clock"


def new_lease(now: float) -> Lease:
    """A lease of this process for a new run."""
    pid = os.getpid()
    return Lease(new_write_id(), socket.gethostname(), _machine(), pid, _born(pid), now, now)


def is_lease(name: str) -> bool:
    """Whether an object below a dataset's root belongs to the lease, and so is neither data nor foreign."""
    return name == NAME or name.startswith(f"{NAME}.")


def read(store: Store) -> Lease | None:
    """The lease that stands, live or not; None where there is none or it is damaged."""
    data = _bytes(store, NAME)
    return None if data is None else Lease.parse(data)


def take(store: Store, mine: Lease, *, take_over: bool = False, watch: str = "") -> None:
    """Become the run at work; a lease that is not live is taken over with a logged line.

    Args:
        store: The dataset.
        mine: A new lease, whose `beat_at` is now.
        take_over: Take a live one as well.
        watch: Command that shows how far a run there is; `mien status` by default.

    Raises:
        RefusedError: Another run is at work, or took the lease at the same moment.
        StorageError: The store does not answer.
    """
    for _ in range(_MAX_TRIES):
        standing = _bytes(store, NAME)
        other = Lease.parse(standing or b"")
        if other and other.is_live(mine.beat_at) and not take_over:
            raise _refused(store, other, mine.beat_at, watch or f"mien status {store.uri}")
        if _swap(store, standing, mine):
            if standing is not None:
                logger.warning("lease    taken over from %s", other or "a damaged lease")
            return
    raise RefusedError(f"{store.uri}: another run is just starting there; look with `mien status {store.uri}`")


def renew(store: Store, mine: Lease, now: float) -> None:
    """Beat once.

    A run that stood still may find its lease gone: whoever took over has ended. If that left a finished dataset, ours
    is over, too; otherwise the work goes on.

    Raises:
        RefusedError: Another run took over; its lease, or what it finished, is left alone.
    """
    for _ in range(_MAX_TRIES):
        standing = _bytes(store, NAME)
        other = Lease.parse(standing or b"")
        if other and other.run_id != mine.run_id:
            raise _lost(store, str(other), "took over")
        if standing is None and any(entry.name == COMPLETE for entry in store.list(COMPLETE)):
            raise _lost(store, "another run", "took over and has finished it")
        if _swap(store, standing, mine._replace(beat_at=now)):
            return


def release(store: Store, mine: Lease) -> None:
    """Delete the lease, unless it is another's by now."""
    standing = read(store)
    if standing and standing.run_id == mine.run_id:
        store.delete(NAME)


@contextlib.contextmanager
def held(
    store: Store,
    *,
    take_over: bool = False,
    clock: Callable[[], float] = time.time,
    every_s: float = BEAT_EVERY_S,
    watch: str = "",
) -> Iterator[Lease]:
    """Hold the lease for the length of a block and renew it from a thread.

    The block is interrupted as by Ctrl-C when another run takes the lease (in the main thread; elsewhere the loss is
    only logged, since Python interrupts no other thread).

    Raises:
        RefusedError: Another run is at work, or took over in the middle of the block.
    """
    mine = new_lease(clock())
    take(store, mine, take_over=take_over, watch=watch)
    with _interruptible() as interrupt:
        keeper = _Keeper(store, mine, clock, interrupt)
        try:
            with keeper.beating(every_s):
                yield mine
        except KeyboardInterrupt:
            if keeper.lost is None:
                raise
            raise keeper.lost from None
        finally:
            if isinstance(sys.exception(), Unavailable):  # it grows stale by itself: a dead service is not asked again
                _GIVEN_UP.add(mine.run_id)
            else:
                with contextlib.suppress(StorageError):
                    release(store, mine)


class _Keeper:
    """Renews a lease until it is lost or no longer needed."""

    def __init__(self, store: Store, mine: Lease, clock: Callable[[], float], interrupt: Callable[[], None]) -> None:
        self._store, self._mine, self._clock, self._interrupt = store, mine, clock, interrupt
        self._stop = threading.Event()
        self.lost: RefusedError | None = None

    @contextlib.contextmanager
    def beating(self, every_s: float) -> Iterator[None]:
        thread = threading.Thread(target=self._beat, args=(every_s,), name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(_JOIN_S)

    def _beat(self, every_s: float) -> None:
        while not self._stop.wait(every_s) and self.lost is None:
            try:
                renew(self._store, self._mine, self._clock())
            except RefusedError as error:
                self.lost = error
            except MienError as error:  # the run itself will tell, if it lasts
                logger.debug("lease    cannot be renewed: %s", error)
        if self.lost is not None:
            logger.warning("lease    was lost: %s", self.lost)
            self._interrupt()


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """A call that interrupts the block from another thread, also where Ctrl-C is ignored (`nohup`, `&`)."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        yield partial(signal.pthread_kill, threading.get_ident(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before or signal.SIG_DFL)


def _refused(store: Store, other: Lease, now: float, watch: str) -> RefusedError:
    return RefusedError(
        f"{store.uri}: {other} is at work there (last sign of life {abs(now - other.beat_at):.0f} s ago); wait for it, "
        f"watch it with `{watch}`, or use --take-over if it is known to be dead"
    )


def _lost(store: Store, other: str, what: str) -> RefusedError:
    return RefusedError(f"{store.uri}: {other} {what}, so this one stopped; what is committed stays")


def _swap(store: Store, standing: bytes | None, mine: Lease) -> bool:
    """Put ours in the place of exactly these bytes, or of nothing; False if something else stands there by now.

    A store replaces without conditions, so who wants to replace these bytes first claims them, by a write-once name.
    """
    if standing is None:
        return _put(store, NAME, mine)
    claim = f"{NAME}.{hashlib.sha256(standing).hexdigest()[:16]}"
    if not _put(store, claim, mine):
        claimant = Lease.parse(_bytes(store, claim) or b"")
        if claimant and not claimant.is_live(mine.beat_at):  # it died between claim and exchange
            store.delete(claim)
        return False
    try:
        if _bytes(store, NAME) != standing:
            return False
        store.replace(NAME, mine.to_bytes())
        return True
    finally:
        store.delete(claim)


def _put(store: Store, name: str, mine: Lease) -> bool:
    """Put ours under a name that must be free; also True if only the answer to our own first try was lost."""
    try:
        store.put_new(name, mine.to_bytes())
    except AlreadyExists:
        standing = Lease.parse(_bytes(store, name) or b"")
        return standing is not None and standing.run_id == mine.run_id
    return True


def _bytes(store: Store, name: str) -> bytes | None:
    """One small object, None if it is not there: a store tells its absence and its own failure by the same error."""
    for _ in range(_MAX_TRIES):  # it may come and go between the two questions
        try:
            return store.read(name)
        except Unavailable:
            raise
        except StorageError as error:
            failure = error
        if not any(entry.name == name for entry in store.list(name)):
            return None
    raise failure


def _machine() -> str:
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  leads to a name, not to a file
    return socket.gethostname()


def _born(pid: int) -> str:
    """Start of a process in ticks since the boot; empty where the system does not tell.

    Raises:
        ProcessLookupError: There is none, or it has ended and is only not yet reaped.
    """
    with contextlib.suppress(PermissionError):  # another user's
        os.kill(pid, 0)
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    if state in {"Z", "X"}:
        raise ProcessLookupError(pid)
    return fields[18]
