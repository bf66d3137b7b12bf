"""The plan as the cluster gets it: a slice at a time, and no more than is worked off.

Ray Data would queue every clip of a plan in the driver, since a row of the plan weighs next to nothing beside what it
may keep in its object store: a million clips cost gigabytes there.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray

from mien.datasets import ids, index
from mien.datasets.index import read_parquet
from mien.storage.uri import Store, open_store

SLICE_CLIPS = 1024
"""Clips that are handed out together at most."""
AHEAD_CLIPS = 4096
"""Clips that are handed out and not cut yet, before the next slice waits: four for each of a thousand workers."""

_LOOK_EVERY_S = 0.2


class Slice(NamedTuple):
    """Rows [start, stop) of one file of the plan, of which some are to be done."""

    file: str
    start: int
    stop: int


def slices(file: str, left: np.ndarray, num_clips: int = SLICE_CLIPS) -> Iterator[Slice]:
    """Slices of one file of the plan that hold the rows to be done, bool [num_rows], so many of them at most."""
    rows = np.flatnonzero(left)
    for at in range(0, len(rows), num_clips):
        part = rows[at : at + num_clips]
        yield Slice(file, int(part[0]), int(part[-1]) + 1)


class Pending(NamedTuple):
    """What is planned, and what of it is done."""

    num_clips: int
    mean_s: float
    """Seconds of video in a clip, on average; infinite if one ends where its video does."""
    skip: np.ndarray
    """Sorted ids of the clips that are not run."""
    slices: list[Slice]
    """Where in the plan the others are."""
    started_at: float = 0.0
    """Unix time at which the run began to look."""

    @property
    def num_left(self) -> int:
        """Clips to run."""
        return max(0, self.num_clips - len(self.skip))


def pending(store: Store, retry_failed: bool) -> Pending:
    """Set the plan against the commit records: two listings, and each file of both is read once."""
    started_at, (made, failed) = time.time(), index.committed(store)
    skip = made if retry_failed else ids.distinct(np.concatenate([made, failed]))
    num_clips, total_s, left = 0, 0.0, list[Slice]()
    for part, part_left in left_slices(store, skip):
        num_clips += part.num_rows
        total_s += float(np.sum(part.column("end_s").to_numpy() - part.column("start_s").to_numpy()))
        left += part_left
    return Pending(num_clips, total_s / max(1, num_clips), skip, left, started_at)


def left_slices(store: Store, skip: np.ndarray) -> Iterator[tuple[pa.Table, list[Slice]]]:
    """Each file of the plan, with its columns `start_s` and `end_s`, and the slices of it that are not skipped."""
    for file in index.plan_files(store):
        part = read_parquet(store, file, ["clip_id", "start_s", "end_s"])
        yield part, list(slices(file, ~ids.are_among(ids.from_column(part.column("clip_id")), skip)))


def drop_done(plan: pa.Table, done: np.ndarray) -> pa.Table:
    """Rows of the plan whose id is not among the sorted ids that are done."""
    return plan.filter(pa.array(~ids.are_among(ids.from_column(plan.column("clip_id")), done)))


class HandOut:
    """Reads slices, checked as every object is, and waits before each until few enough clips are on their way."""

    def __init__(
        self,
        store: Store,
        done: np.ndarray,
        num_ended: Callable[[], int | None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take what tells how many clips this run has cut; None once nobody knows, and nothing waits any more."""
        self._store, self._done, self._num_ended, self._sleep = store, done, num_ended, sleep
        self._given = set[Slice]()
        self._num_given = num_ended() or 0  # one that is started again in the middle of a run begins as if all were cut
        self._file, self._rows = "", pa.table({})

    def __call__(self, wanted: Slice) -> pa.Table:
        """The rows that are to be done; at once for a slice that was given before, since what was lost is waited for.

        Raises:
            DatasetError: The plan is gone or damaged.
            Unavailable: The bucket does not answer.
        """
        if wanted.file != self._file:
            self._file, self._rows = wanted.file, read_parquet(self._store, wanted.file)
        rows = drop_done(self._rows.slice(wanted.start, wanted.stop - wanted.start), self._done)
        if wanted not in self._given:
            self._wait(rows.num_rows)
            self._given.add(wanted)
            self._num_given += rows.num_rows
        return rows

    def _wait(self, num_more: int) -> None:
        while (num_ended := self._num_ended()) is not None:
            if self._num_given + num_more - num_ended <= AHEAD_CLIPS:
                return
            self._sleep(_LOOK_EVERY_S)


class HandOutStage:
    """The same as Ray calls it: one actor that needs no CPU."""

    def __init__(self, place: str, done: Any, tally: Any) -> None:
        """Take the place of the dataset, and references to the sorted ids that are done and to the tally."""

        def num_ended() -> int | None:
            try:
                return int(ray.get(tally.num_ended.remote()))
            except ray.exceptions.RayError:
                return None

        self._hand_out = HandOut(open_store(place), ray.get(done), num_ended)

    def __call__(self, wanted: pa.Table) -> Iterator[pa.Table]:
        """Slices in, rows of the plan out."""
        for row in wanted.to_pylist():
            yield self._hand_out(Slice(**row))


def handed_out(place: str, pending: Pending, tally: Any, per_task: int) -> Any:
    """The clips that are pending as a Ray dataset in blocks of `per_task`; what cuts them tells the tally."""
    slices = [piece._asdict() for piece in pending.slices]
    # One actor without a CPU, since it waits while enough clips are on their way.
    rows = ray.data.from_items(slices, override_num_blocks=max(1, len(slices))).map_batches(
        HandOutStage,
        fn_constructor_args=(place, ray.put(pending.skip), tally),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=0,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    return rows.repartition(target_num_rows_per_block=per_task)
