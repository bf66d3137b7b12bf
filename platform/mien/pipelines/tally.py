"""Counts of all workers of a run, in one place: for people who watch it, and for Ray's metrics endpoint.

What is done is told by the commit records alone, and not from here.
"""

import contextlib
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ray.util.metrics import Counter

_SLOW_S = 60.0
_SLOW_RATIO = 10.0
_NUM_DURATIONS = 1000

RECENT_S = 300.0
"""Rates and busy shares are those of the last minutes: a cluster grows and shrinks."""


class StageCount(NamedTuple):
    """What one stage has done."""

    clips: int = 0
    failed: int = 0
    frames: int = 0
    busy_s: float = 0.0
    workers: int = 0
    """That were at work lately."""


class Straggler(NamedTuple):
    """A clip that takes much longer than others did."""

    clip_id: str
    source: str
    worker: str
    """Node and process that took it last; it may be gone."""
    for_s: float


class Counts(NamedTuple):
    """What a run has done, at one moment."""

    stages: dict[str, StageCount]
    first_clip_at: float
    """Unix time at which the first clip left the last stage; 0 before."""
    last_failure: str
    stragglers: tuple[Straggler, ...] = ()
    """The slowest first."""


class _Begun(NamedTuple):
    attempt: int
    since: float
    source: str
    worker: str


class Tally:
    """The counts, as a Ray actor. `begin` is waited for before every clip, so each call costs next to nothing."""

    def __init__(self, stages: list[str], clock: Callable[[], float] = time.monotonic) -> None:
        """All stages at zero; the clock may be any that does not jump."""
        self._clock = clock
        self._stages = {stage: StageCount() for stage in stages}
        self._first, self._last = stages[0], stages[-1]
        self._first_clip_at = 0.0
        self._last_failure = ""
        self._begun = dict[str, _Begun]()
        self._most_begun = 0
        self._seen_at = {stage: dict[str, float]() for stage in stages}
        self._durations_s = deque[float](maxlen=_NUM_DURATIONS)
        self._metrics = _Metrics()

    def begin(self, clip_id: str, source: str = "", worker: str = "") -> int:
        """A worker takes a clip. How often it was taken without an end: above 1, workers died over it."""
        before = self._begun.get(clip_id)
        attempt = before.attempt + 1 if before else 1
        self._begun[clip_id] = _Begun(attempt, self._clock(), source, worker)
        self._most_begun = max(self._most_begun, len(self._begun))
        return attempt

    def end(self, clip_id: str) -> None:
        """The worker survived the clip, whatever came of it."""
        begun = self._begun.pop(clip_id, None)
        if begun:
            self._durations_s.append(self._clock() - begun.since)

    def add(self, stage: str, frames: int, busy_s: float, failure: str, worker: str = "") -> None:
        """One clip went through a stage, or failed there with a message."""
        old = self._stages[stage]
        failed = bool(failure)
        self._stages[stage] = StageCount(old.clips + 1, old.failed + failed, old.frames + frames, old.busy_s + busy_s)
        self._seen_at[stage][worker] = self._clock()
        self._last_failure = failure or self._last_failure
        if stage == self._last and not failed and not self._first_clip_at:
            self._first_clip_at = time.time()
        self._metrics.add(stage, frames, failed)

    def counts(self) -> Counts:
        """What was counted so far."""
        now = self._clock()
        stages = {stage: count._replace(workers=self._num_lately(stage, now)) for stage, count in self._stages.items()}
        # tasks, unlike actors, go from process to process: what counts of them is how many were at work at once
        unfinished_s = sum(now - begun.since for begun in self._begun.values())
        first = stages[self._first]
        stages[self._first] = first._replace(busy_s=first.busy_s + unfinished_s, workers=self._most_begun)
        self._most_begun = len(self._begun)
        return Counts(stages, self._first_clip_at, self._last_failure, self._stragglers(now))

    def _num_lately(self, stage: str, now: float) -> int:
        self._seen_at[stage] = {worker: at for worker, at in self._seen_at[stage].items() if now - at < RECENT_S}
        return len(self._seen_at[stage])

    def _stragglers(self, now: float) -> tuple[Straggler, ...]:
        usual_s = statistics.median(self._durations_s) if self._durations_s else _SLOW_S
        slow = [
            Straggler(clip_id, begun.source, begun.worker, now - begun.since)
            for clip_id, begun in self._begun.items()
            if now - begun.since > max(_SLOW_S, _SLOW_RATIO * usual_s)
        ]
        return tuple(sorted(slow, key=lambda straggler: -straggler.for_s))


class _Metrics:
    """The same counts for Prometheus, where Ray serves its own; a run does not depend on them."""

    def __init__(self) -> None:
        self._clips = Counter("mien_clips_total", "Clips that left a stage", ("stage", "outcome"))
        self._frames = Counter("mien_frames_total", "Frames that left a stage", ("stage",))

    def add(self, stage: str, frames: int, failed: bool) -> None:
        with contextlib.suppress(Exception):
            self._clips.inc(1, {"stage": stage, "outcome": "failed" if failed else "made"})
            if frames:
                self._frames.inc(frames, {"stage": stage})
