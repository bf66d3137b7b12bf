"""The plan as the cluster gets it: a slice at a time, and no more than is worked off.

Ray Data would queue every clip of a plan in the driver, since a row of the plan weighs next to nothing beside what it
may keep in its object store: a million clips cost gigabytes there.
"""

import functools
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data._internal.execution.backpressure_policy import (
    ENABLED_BACKPRESSURE_POLICIES,
    ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
    BackpressurePolicy,
)

from mien.datasets import ids, index
from mien.datasets.index import read_parquet
from mien.storage.commit import completion_generation
from mien.storage.uri import Store, is_bucket, open_store

SLICE_CLIPS = 1024
"""Clips that are handed out together at most."""
AHEAD_BLOCKS = 4096
"""Tasks that wait for a worker at most: four for each of a thousand."""
CLIPS = "clips"
"""Column of a task: the rows of the plan that one worker does, one after the other."""

WRITE_OP = "Write"
"""What Ray calls the operator of a sink."""
LEAST_WRITES, _CPUS_PER_WRITE = 4, 4
"""Shards that are written at once: on any cluster, and one for so many of its CPUs."""


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


class TaskSize(NamedTuple):
    """How many clips one worker takes at once."""

    num_clips: int
    video_s: float = 0.0
    """Clips of one video in a bucket stay together while they make so many seconds: its index is then read once."""


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
    completion: int = 0
    """Generation of the completion record then; 0 for none."""

    @property
    def num_left(self) -> int:
        """Clips to run."""
        return max(0, self.num_clips - len(self.skip))


def pending(store: Store, retry_failed: bool) -> Pending:
    """Set the plan against the commit records: three listings, and each file of both is read once."""
    started_at, completion, (made, failed) = time.time(), completion_generation(store), index.committed(store)
    skip = made if retry_failed else ids.distinct(np.concatenate([made, failed]))
    num_clips, total_s, left = 0, 0.0, list[Slice]()
    for part, part_left in left_slices(store, skip):
        num_clips += part.num_rows
        total_s += float(np.sum(part.column("end_s").to_numpy() - part.column("start_s").to_numpy()))
        left += part_left
    return Pending(num_clips, total_s / max(1, num_clips), skip, left, started_at, completion)


def left_slices(store: Store, skip: np.ndarray) -> Iterator[tuple[pa.Table, list[Slice]]]:
    """Each file of the plan, with its columns `start_s` and `end_s`, and the slices of it that are not skipped."""
    for file in index.plan_files(store):
        part = read_parquet(store, file, ["clip_id", "start_s", "end_s"])
        yield part, list(slices(file, ~ids.are_among(ids.from_column(part.column("clip_id")), skip)))


def grouped(plan: pa.Table, size: TaskSize) -> pa.Table:
    """Rows of the plan as tasks, in their order: one row each, whose clips are a list."""
    clips = plan.combine_chunks().to_struct_array().combine_chunks()
    stops = np.array([*_starts(plan, size), plan.num_rows], np.int32)
    return pa.table({CLIPS: pa.ListArray.from_arrays(stops, clips)})


def _starts(plan: pa.Table, size: TaskSize) -> Iterator[int]:
    """Where tasks begin: with clip `num_clips` of one, unless it and those before make little of the same video."""
    start, video, video_s = -size.num_clips, "", 0.0
    for at, clip in enumerate(plan.select(["source_uri", "start_s", "end_s"]).to_pylist()):
        is_same, clip_s = clip["source_uri"] == video, clip["end_s"] - clip["start_s"]
        stays = is_same and is_bucket(video) and video_s + clip_s <= size.video_s
        if at - start >= size.num_clips and not stays:
            yield at
            start, video_s = at, 0.0
        video_s = clip_s + (video_s if is_same else 0.0)
        video = clip["source_uri"]


def clips_of(tasks: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of the plan that make up tasks."""
    return chain.from_iterable(tasks.column(CLIPS).to_pylist())


def drop_done(plan: pa.Table, done: np.ndarray) -> pa.Table:
    """Rows of the plan whose id is not among the sorted ids that are done."""
    return plan.filter(pa.array(~ids.are_among(ids.from_column(plan.column("clip_id")), done)))


class HandOutStage:
    """Slices in, tasks of clips that are to be done out. The plan is read as every object is: checked."""

    def __init__(self, place: str, done: Any, size: TaskSize) -> None:
        """Take the place of the dataset and a reference to the sorted ids that are done: they travel once."""
        self._place, self._done, self._size = place, done, size

    def __call__(self, wanted: pa.Table) -> Iterator[pa.Table]:
        """Tasks as `grouped` makes them.

        Raises:
            DatasetError: The plan is gone or damaged.
            Unavailable: The bucket does not answer.
        """
        for piece in (Slice(**row) for row in wanted.to_pylist()):
            rows = _part(self._place, piece.file).slice(piece.start, piece.stop - piece.start)
            yield grouped(drop_done(rows, ray.get(self._done)), self._size)


@functools.lru_cache(maxsize=1)
def _part(place: str, file: str) -> pa.Table:
    """One file of the plan, which never changes; a worker gets slices of the same one after another."""
    return read_parquet(open_store(place), file)


def is_handing_out(op: Any) -> bool:
    """Whether Ray's operator has slices left."""
    return HandOutStage.__name__ in op.name and not op.has_completed()


class AheadPolicy(BackpressurePolicy):  # type: ignore[misc]  # ray is not typed
    """Lets a slice out only while few clips wait for a worker; Ray's own policies count bytes, and a plan has few."""

    def can_add_input(self, op: Any) -> bool:
        """Whether the operator may begin another task; Ray asks this of every one."""
        if HandOutStage.__name__ not in op.name:
            return True
        num_coming = SLICE_CLIPS * (op.num_active_tasks() + 1)
        num_waiting = sum(self._topology[after].total_enqueued_input_blocks() for after in op.output_dependencies)
        return bool(num_waiting + num_coming <= AHEAD_BLOCKS)


class FewWritesPolicy(BackpressurePolicy):  # type: ignore[misc]  # ray is not typed
    """Lets few shards be written at once: a write counts no core, so Ray starts a process for each that has to wait.

    A core that cuts fills a shard in about a minute, and it is written in a second or two.
    """

    def can_add_input(self, op: Any) -> bool:
        """Whether the operator may begin another task."""
        num_cpus = self._resource_manager.get_global_limits().cpu
        return bool(op.name != WRITE_OP or op.num_active_tasks() < max(LEAST_WRITES, num_cpus / _CPUS_PER_WRITE))


def handed_out(place: str, pending: Pending, size: TaskSize) -> Any:
    """The clips that are pending as a Ray dataset, a task in a block."""
    policies = [*ENABLED_BACKPRESSURE_POLICIES, AheadPolicy, FewWritesPolicy]
    ray.data.DataContext.get_current().set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, policies)
    slices = [piece._asdict() for piece in pending.slices]
    rows = ray.data.from_items(slices, override_num_blocks=max(1, len(slices)))
    rows = rows.map_batches(HandOutStage(place, ray.put(pending.skip), size), batch_size=None, batch_format="pyarrow")
    return rows.repartition(target_num_rows_per_block=1)
