"""What a run says while it works: a live table on a terminal, otherwise one line per 30 s."""

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import ray
from rich.console import Console
from rich.live import Live
from rich.table import Table

from mien.log import logger

_LINE_EVERY_S = 30.0
_TABLE_EVERY_S = 0.5


class StageCount(NamedTuple):
    """What one stage has done."""

    clips: int = 0
    failed: int = 0
    frames: int = 0
    busy_s: float = 0.0


class Counts(NamedTuple):
    """What a run has done, at one moment."""

    stages: dict[str, StageCount]
    first_clip_at: float
    """Unix time at which the first clip left the last stage; 0 before."""
    last_failure: str


class Tally:
    """Counts of all workers, as a Ray actor. What is done is told by the commit records alone, and not from here."""

    def __init__(self, stages: list[str]) -> None:
        """All stages at zero."""
        self._stages = {stage: StageCount() for stage in stages}
        self._last = stages[-1]
        self._first_clip_at = 0.0
        self._last_failure = ""
        self._begun = Counter[str]()

    def begin(self, clip_id: str) -> int:
        """A worker takes a clip. How often it was taken without an end: above 1, workers died over it."""
        self._begun[clip_id] += 1
        return self._begun[clip_id]

    def end(self, clip_id: str) -> None:
        """The worker survived the clip, whatever came of it."""
        del self._begun[clip_id]

    def add(self, stage: str, frames: int, busy_s: float, failure: str) -> None:
        """One clip went through a stage, or failed there with a message."""
        old = self._stages[stage]
        failed = bool(failure)
        self._stages[stage] = StageCount(old.clips + 1, old.failed + failed, old.frames + frames, old.busy_s + busy_s)
        self._last_failure = failure or self._last_failure
        if stage == self._last and not failed and not self._first_clip_at:
            self._first_clip_at = time.time()

    def counts(self) -> Counts:
        """What was counted so far."""
        return Counts(self._stages, self._first_clip_at, self._last_failure)


class Progress:
    """Shows a tally until the run ends."""

    def __init__(self, tally: Any, num_clips: int, num_done: int) -> None:
        """Of `num_clips` planned, `num_done` were done by earlier runs."""
        self._tally, self._num_clips, self._num_done = tally, num_clips, num_done
        self._started = time.monotonic()
        self.started_at = time.time()
        """Unix time at which the run began to execute."""
        self._stop = threading.Event()
        self.counts = Counts({}, 0.0, "")
        """The counts as last seen."""

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show progress on stderr for the length of a block, and the last state at its end."""
        thread = threading.Thread(target=self._show, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _show(self) -> None:
        if sys.stderr.isatty():
            with Live(console=Console(stderr=True), auto_refresh=False) as live:
                while not self._update(_TABLE_EVERY_S):
                    live.update(self.table(), refresh=True)
                live.update(self.table(), refresh=True)
        else:
            while not self._update(_LINE_EVERY_S):
                logger.info("%s", self.line())

    def _update(self, wait_s: float) -> bool:
        """Wait, look at the tally, and tell whether the run has ended."""
        ended = self._stop.wait(wait_s)
        with contextlib.suppress(ray.exceptions.RayError):
            self.counts = ray.get(self._tally.counts.remote(), timeout=5)
        return ended

    def table(self) -> Table:
        """Stage, clips, frames per second, busy workers; the stage that limits the rate is marked."""
        elapsed = max(1e-9, time.monotonic() - self._started)
        table = Table(box=None, pad_edge=False, caption=self.line(), caption_justify="left")
        for heading in ("stage", "clips", "failed", "frames/s", "busy workers"):
            table.add_column(heading, justify="left" if heading == "stage" else "right")
        busiest = max(self.counts.stages, key=lambda stage: self.counts.stages[stage].busy_s, default="")
        for stage, count in self.counts.stages.items():
            mark = " ← limiting" if stage == busiest and len(self.counts.stages) > 1 else ""
            rate, busy = count.frames / elapsed, count.busy_s / elapsed
            table.add_row(stage, f"{count.clips}", f"{count.failed}", f"{rate:.1f}", f"{busy:.2f}{mark}")
        return table

    def line(self) -> str:
        """One line: share done, time left, failures and the last of them."""
        stages = list(self.counts.stages.values())
        ended = (stages[-1].clips if stages else 0) + sum(stage.failed for stage in stages[:-1])
        done, elapsed = self._num_done + ended, time.monotonic() - self._started
        left_s = elapsed / ended * (self._num_clips - done) if ended else float("nan")
        failed = sum(stage.failed for stage in stages)
        words = [f"{done}/{self._num_clips} clips", f"{100 * done / max(1, self._num_clips):.0f} %"]
        words += [f"{left_s:.0f} s left"] if ended and done < self._num_clips else []
        words += [f"{failed} failed"] if failed else []
        return "  ".join(words)
