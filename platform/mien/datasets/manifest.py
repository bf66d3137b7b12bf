"""Plan and commit records, read once and counted: what is planned, made and failed, and at which pace."""

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from mien.datasets import index
from mien.storage.commit import FOLDER, read_commit
from mien.storage.uri import Store

_PACE_OVER_S = 600.0
_NUM_READERS = 16
"""Commit records read at the same time: each is a round trip to a bucket."""
_AT_ONCE = 256
"""Commit records in memory at most, on their way to being counted."""


class Step(NamedTuple):
    """One commit, as the pace sees it."""

    finished_at: float
    """Unix time."""
    run_id: str
    num_clips: int
    """Clips that it took to the end, one way or the other."""


def pace(steps: Iterable[Step]) -> float | None:
    """Clips per second over the last ten minutes of work; None before two commits of one run.

    What a run committed first does not count, and nor does the time before it, in which perhaps nothing was at work.
    """
    num_clips, worked_s = 0, 0.0
    for before, after in reversed(list(pairwise(sorted(steps)))):
        if before.run_id == after.run_id and worked_s < _PACE_OVER_S:
            num_clips, worked_s = num_clips + after.num_clips, worked_s + after.finished_at - before.finished_at
    return num_clips / worked_s if worked_s > 0 else None


class Manifest:
    """Plan and commit records of one dataset. Both are write-once, so none is read twice."""

    def __init__(self, store: Store) -> None:
        """Nothing is read yet."""
        self._store = store
        self._clear()

    def _clear(self) -> None:
        self._planned = dict[str, int]()  # file of the plan -> its clips
        self._read = set[str]()  # names of commit records
        self._made = dict[str, int]()  # clip -> frames of all its tracks
        self._failed = dict[str, tuple[float, str]]()  # clip, perhaps made since -> when it failed last, and why
        self.steps = list[Step]()

    @property
    def num_clips(self) -> int:
        """Clips of the plan."""
        return sum(self._planned.values())

    @property
    def num_made(self) -> int:
        """Clips that are made."""
        return len(self._made)

    @property
    def num_frames(self) -> int:
        """Frames of all samples."""
        return sum(self._made.values())

    def failures(self) -> list[str]:
        """Why clips failed that were not made since, one reason for each, the newest first."""
        told = (when_and_why for clip_id, when_and_why in self._failed.items() if clip_id not in self._made)
        return [why for _, why in sorted(told, reverse=True)]

    def refresh(self) -> None:
        """Read what is new.

        Raises:
            DatasetError: A record or a file of the plan is damaged.
        """
        listed = [entry.name for entry in self._store.list(FOLDER)]
        if not self._read.issubset(listed):  # somebody started over
            self._clear()
        if not self._read:  # a plan is complete before its first clip is
            self._read_plan()
        new = [name for name in listed if name not in self._read]
        with ThreadPoolExecutor(_NUM_READERS) as pool:
            for start in range(0, len(new), _AT_ONCE):
                part = new[start : start + _AT_ONCE]
                for record in pool.map(partial(read_commit, self._store), part):
                    self._add(record)
                self._read.update(part)

    def _read_plan(self) -> None:
        for name in index.plan_files(self._store):
            if name not in self._planned:
                self._planned[name] = index.read_parquet(self._store, name).num_rows

    def _add(self, record: Mapping[str, Any]) -> None:
        """A clip counts once, whatever number of shards holds it, and as made if one of them made it."""
        finished_at = float(record.get("finished_at", 0))
        made = Counter[str]()
        for sample in record["samples"]:
            made[sample["clip_id"]] += sample["num_frames"]
        self._made.update(made)
        for failure in record["failures"]:
            told = (finished_at, str(failure["error"]))
            self._failed[failure["clip_id"]] = max(told, self._failed.get(failure["clip_id"], told))
        self.steps.append(Step(finished_at, str(record.get("run_id", "")), len(made) + len(record["failures"])))
