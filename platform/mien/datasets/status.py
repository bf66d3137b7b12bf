"""How far a run is, told from another terminal by what it planned and committed.

Ray is not asked and nothing is changed: share and time left come from the manifest alone, so they survive resumes, and
whether a run is at work is what its lease says.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mien.datasets import index
from mien.datasets.dataset import COMPLETE
from mien.datasets.manifest import Manifest, pace
from mien.errors import DatasetError
from mien.log import logger
from mien.storage import lease
from mien.storage.lease import Lease, moment
from mien.storage.uri import Store, open_store

FINISHED, RUNNING, STOPPED = "finished", "running", "stopped"

_NUM_REASONS = 3
_LINE_EVERY_S = 30.0
_LIVE_EVERY_S = 5.0


class Status(NamedTuple):
    """How far a run is."""

    path: str
    state: str
    """finished, running, or stopped: not finished, and no run is at work."""
    num_clips: int
    """Planned."""
    num_made: int
    num_failed: int
    num_frames: int
    clips_per_s: float | None
    """Over the last minutes of work; None until a run has made two commits."""
    left_s: float | None
    """Seconds of work left at this pace."""
    committed_at: float | None
    """Unix time of the last commit."""
    run: Lease | None
    """The lease that stands: of the run at work, or of one that died."""
    failures: list[str]
    """Why clips failed, the last few, the newest first."""
    next: str
    """What to do now."""

    @property
    def num_done(self) -> int:
        """Clips that need no more work."""
        return self.num_made + self.num_failed

    @property
    def share(self) -> float:
        """Share of the planned clips that is done."""
        return self.num_done / max(1, self.num_clips)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self._asdict() | {"share": self.share, "run": self.run._asdict() if self.run else None}

    def line(self) -> str:
        """One line: clips, share, and while there is work left, pace and time; failures; state."""
        words = [f"{self.num_done}/{self.num_clips} clips", f"{100 * self.share:.0f} %"]
        words += [f"{60 * self.clips_per_s:.3g} clips/min"] if self.clips_per_s and self.left_s else []
        words += [f"{duration(self.left_s)} left"] if self.left_s else []
        words += [f"{self.num_failed} failed"] if self.num_failed else []
        return "  ".join([*words, self.state])

    def summary(self) -> dict[str, str]:
        """What a person wants to read of it, key by key."""
        shown = {"path": self.path, "progress": self.line(), "frames": f"{self.num_frames}"}
        shown |= {"last commit": moment(self.committed_at)} if self.committed_at else {}
        shown |= {"run": f"{self.run}, last sign of life {moment(self.run.beat_at)}"} if self.run else {}
        shown |= {f"failed {number}": reason for number, reason in enumerate(self.failures, 1)}
        return shown | {"next": self.next}


class Observer:
    """Looks at one dataset again and again, and reads only what is new."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """Nothing is read yet."""
        self._store, self._clock = store, clock
        self._manifest = Manifest(store)

    def look(self) -> Status:
        """How far the run is now.

        Raises:
            DatasetError: There is no dataset, or it is damaged.
            StorageError: The place cannot be read.
        """
        run = lease.read(self._store)  # first of all: a run deletes it last
        is_running = run is not None and run.is_live(self._clock())
        is_finished = any(entry.name == COMPLETE for entry in self._store.list(COMPLETE))
        self._manifest.refresh()
        if not (is_running or is_finished or self._manifest.num_clips):
            raise DatasetError(
                f"{self._store.uri}: is not a dataset of mien: it has neither {COMPLETE} nor {index.PLAN_FOLDER}"
            )
        return self._status(RUNNING if is_running else FINISHED if is_finished else STOPPED, run)

    def _status(self, state: str, run: Lease | None) -> Status:
        manifest, uri = self._manifest, self._store.uri
        failures, clips_per_s = manifest.failures(), pace(manifest.steps)
        num_left = manifest.num_clips - manifest.num_made - len(failures)
        following = {
            FINISHED: f"mien inspect {uri}",
            RUNNING: f"mien status {uri} --watch",
            STOPPED: "run the same `mien serialize` command again, it resumes",
        }
        return Status(
            uri,
            state,
            manifest.num_clips,
            manifest.num_made,
            len(failures),
            manifest.num_frames,
            clips_per_s,
            num_left / clips_per_s if clips_per_s else None,
            max((step.finished_at for step in manifest.steps), default=0) or None,
            run,
            failures[:_NUM_REASONS],
            following[state],
        )


def look(place: str) -> Status:
    """How far the run is whose output is at a place; see `Observer.look`."""
    return Observer(open_store(place)).look()


def watch(place: str) -> Status:
    """Show on stderr how far the run is until it is finished, or until Ctrl-C; returns what was seen last."""
    observer = Observer(open_store(place))
    if not sys.stderr.isatty():
        return follow(observer, lambda status: logger.info("%s", status.line()), partial(time.sleep, _LINE_EVERY_S))
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        return follow(
            observer,
            lambda status: live.update(picture(status), refresh=True),
            partial(time.sleep, _LIVE_EVERY_S),
        )


def follow(observer: Observer, show: Callable[[Status], object], wait: Callable[[], None]) -> Status:
    """Look and show until the run is finished, or until Ctrl-C; returns what was seen last."""
    status = observer.look()
    with contextlib.suppress(KeyboardInterrupt):
        show(status)
        while status.state != FINISHED:
            wait()
            status = observer.look()
            show(status)
    return status


def picture(status: Status) -> Group:
    """A bar and the summary below it, for a terminal."""
    table = Table.grid(padding=(0, 2))
    for key, value in status.summary().items():
        table.add_row(key, Text(value))
    return Group(ProgressBar(max(1, status.num_clips), status.num_done, width=60), table)


def duration(seconds: float) -> str:
    """Seconds in the largest units that matter: `42 s`, `4 min`, `2 h 05 min`, `3 d 04 h`."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60:02d} h"
