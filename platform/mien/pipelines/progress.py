"""What a run says while it works: a live table on a terminal, otherwise one line per 30 s."""

import time
from collections import deque
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, NamedTuple

import ray
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mien.datasets.status import duration
from mien.pipelines.shown import Shown
from mien.pipelines.tally import RECENT_S, Counts, StageCount, Straggler

_MAX_STRAGGLERS = 3


class Look(NamedTuple):
    """The counts as they were at a moment of the clock."""

    at: float
    counts: Counts


class StageView(NamedTuple):
    """What is shown of one stage."""

    stage: str
    done: StageCount
    frames_per_s: float
    queue: int
    """Clips that are ready for the stage and have not left it."""
    busy: float
    """Share of the workers' time in which they worked."""


class Progress(Shown):
    """Shows a tally until the run ends."""

    def __init__(self, tally: Any, num_clips: int, num_done: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Of `num_clips` planned, `num_done` were done by earlier runs."""
        super().__init__()
        self._tally, self._num_clips, self._num_done = tally, num_clips, num_done
        self._clock = clock
        self._looks = deque([Look(clock(), Counts({}, 0.0, ""))])
        self.started_at = time.time()
        """Unix time at which the run began to execute."""

    @property
    def counts(self) -> Counts:
        """The counts as last seen."""
        return self._looks[-1].counts

    def update(self) -> None:
        """Look at the tally."""
        self.see(ray.get(self._tally.counts.remote(), timeout=5))

    def lines(self) -> list[str]:
        """The line of the run, and one for each clip that is waited for."""
        return [self.line(), *self.waiting()]

    def see(self, counts: Counts) -> None:
        """Take note of the counts; what lies back longer than the rates reach is forgotten, but for one look.

        Counts that fell are of a tally that was ended for memory and began again at zero: rates begin again as well.
        """
        now, ended = self._clock(), num_ended(self.counts)
        if num_ended(counts) < ended:
            self._num_done += ended
            self._looks = deque([Look(now, Counts({}, 0.0, ""))])
        self._looks.append(Look(now, counts))
        while now - self._looks[1].at >= RECENT_S:
            self._looks.popleft()

    def views(self) -> list[StageView]:
        """Every stage over the last minutes."""
        first, last = self._looks[0], self._looks[-1]
        elapsed = max(1e-9, last.at - first.at)
        views, num_ready = list[StageView](), self._num_clips - self._num_done
        for stage, count in last.counts.stages.items():
            before = first.counts.stages.get(stage, StageCount())
            workers = max([1, *(look.counts.stages[stage].workers for look in self._looks if look.counts.stages)])
            busy = (count.busy_s - before.busy_s) / elapsed / workers
            queue = max(0, num_ready - count.clips)
            views.append(StageView(stage, count, (count.frames - before.frames) / elapsed, queue, busy))
            num_ready = count.clips - count.failed
        return views

    def picture(self) -> Group:
        """The table, and below it what a line says and the clips that are waited for."""
        return Group(self.table(), *map(Text, self.lines()))

    def table(self) -> Table:
        """Stage, clips, frames per second, clips that wait or are at work, busy share; what limits is marked."""
        table = Table(box=None, pad_edge=False)
        for heading in ("stage", "clips", "failed", "frames/s", "queue", "busy"):
            table.add_column(heading, justify="left" if heading == "stage" else "right")
        views = self.views()
        busiest = max(views, key=lambda view: view.busy, default=None)
        for view in views:
            mark = " ← limiting" if view is busiest and len(views) > 1 else ""
            numbers = (f"{view.done.clips}", f"{view.done.failed}", f"{view.frames_per_s:.1f}", f"{view.queue}")
            table.add_row(view.stage, *numbers, f"{min(1, view.busy):.0%}{mark}")
        return table

    def line(self) -> str:
        """One line: share done, time left, failures."""
        first, last = self._looks[0], self._looks[-1]
        # a clip whose worker was lost after it was counted is counted again
        num_done = min(self._num_clips, self._num_done + num_ended(last.counts))
        num_recent = num_ended(last.counts) - num_ended(first.counts)
        words = [f"{num_done}/{self._num_clips} clips", f"{100 * num_done / max(1, self._num_clips):.0f} %"]
        if num_recent and num_done < self._num_clips:
            left_s = (last.at - first.at) / num_recent * (self._num_clips - num_done)
            words.append(f"{duration(left_s)} left")
        num_failed = sum(stage.failed for stage in last.counts.stages.values())
        return "  ".join([*words, *([f"{num_failed} failed"] if num_failed else [])])

    def waiting(self) -> list[str]:
        """One line for each of the slowest clips that take much longer than others did."""
        return [_waiting(straggler) for straggler in self.counts.stragglers[:_MAX_STRAGGLERS]]


def num_ended(counts: Counts) -> int:
    """Clips that left the last stage, or failed in one before it."""
    stages = list(counts.stages.values())
    return (stages[-1].clips if stages else 0) + sum(stage.failed for stage in stages[:-1])


def _waiting(straggler: Straggler) -> str:
    video = PurePath(straggler.source).name
    return f"waiting for clip {straggler.clip_id} ({video}) on node {straggler.worker} for {duration(straggler.for_s)}"
