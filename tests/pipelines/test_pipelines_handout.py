"""The plan is handed out in slices: every clip that is left once, and only so many ahead of the work."""

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
from ray.data._internal.execution.backpressure_policy import ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY

from mien.clips.clip import Clip, Source
from mien.datasets import ids, index
from mien.datasets.index import rows_to_table
from mien.datasets.parquet import ParquetConfig
from mien.errors import DatasetError
from mien.pipelines.handout import (
    AHEAD_BLOCKS,
    SLICE_CLIPS,
    WRITE_OP,
    AheadPolicy,
    FewWritesPolicy,
    HandOutStage,
    Slice,
    TaskSize,
    clips_of,
    drop_done,
    grouped,
    handed_out,
    left_slices,
    pending,
    slices,
)
from mien.pipelines.sink import ShardSink, Target, crossing_row
from mien.schema import PLAN
from mien.storage.local import LocalStore
from sample_datasets import make_clip, write_failure

NUM_CLIPS, ROWS_PER_FILE = 50, 20


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A plan of three files."""
    made = LocalStore(tmp_path)
    index.write_plan(made, (make_clip(number).to_row() for number in range(NUM_CLIPS)), ROWS_PER_FILE)
    return made


def done(*numbers: int) -> np.ndarray:
    return ids.distinct(ids.from_texts([make_clip(number).clip_id for number in numbers]))


def ids_of(tasks: pa.Table) -> list[str]:
    return [clip["clip_id"] for clip in clips_of(tasks)]


def test_slices_hold_every_row_that_is_left_and_no_file_that_has_none() -> None:
    left = np.array([0, 1, 0, 1, 1, 0, 0, 1, 0], bool)
    assert list(slices("a", left, 2)) == [Slice("a", 1, 4), Slice("a", 4, 8)]
    assert list(slices("a", left, 4)) == [Slice("a", 1, 8)]
    assert list(slices("a", ~np.ones(9, bool))) == []


@pytest.mark.parametrize("skipped", [(), (0, 7, 49), range(20), range(20, 50), range(50)])
def test_what_is_not_done_is_handed_out_once_in_the_order_of_the_plan(
    store: LocalStore, local_ray: None, skipped: Sequence[int]
) -> None:
    skip = done(*skipped)
    found = [piece._asdict() for _, part in left_slices(store, skip) for piece in part]
    stage = HandOutStage(store.uri, ray.put(skip), TaskSize(7))
    parts = stage(pa.Table.from_pylist(found)) if found else ()
    given = [clip_id for part in parts for clip_id in ids_of(part)]
    assert given == [make_clip(number).clip_id for number in range(NUM_CLIPS) if number not in set(skipped)]


def sizes(videos: str, clip_s: float, size: TaskSize, root: str = "gs://b") -> list[int]:
    """Clips per task of a plan that has a letter of the video for each clip."""
    clips = [Clip(Source(f"{root}/{video}.mp4", 1, 1), at, at + clip_s) for at, video in enumerate(videos)]
    plan = rows_to_table([clip.to_row() for clip in clips], PLAN)
    tasks = grouped(plan, size)
    assert ids_of(tasks) == [clip.clip_id for clip in clips]
    assert list(clips_of(tasks)) == plan.to_pylist()
    return [len(clips) for clips in tasks.column("clips").to_pylist()]


@pytest.mark.parametrize(
    ("videos", "clip_s", "size", "expected"),
    [
        ("abcdefg", 3, TaskSize(3), [3, 3, 1]),
        ("abc", math.inf, TaskSize(1, 10), [1, 1, 1]),
        ("aaabbb", 3, TaskSize(1, 10), [3, 3]),
        ("aaaaaaab", 3, TaskSize(1, 10), [3, 3, 1, 1]),
        ("aab", 6, TaskSize(1, 10), [1, 1, 1]),
        ("xaaab", 3, TaskSize(2, 10), [4, 1]),
        ("aaa", math.inf, TaskSize(1, 10), [1, 1, 1]),
        ("", 3, TaskSize(1, 10), []),
    ],
)
def test_clips_of_one_video_in_a_bucket_stay_together_while_they_make_little(
    videos: str, clip_s: float, size: TaskSize, expected: list[int]
) -> None:
    assert sizes(videos, clip_s, size) == expected


def test_clips_of_a_video_on_a_disk_are_for_all_workers() -> None:
    assert sizes("aaa", 3, TaskSize(1, 10), root="/videos") == [1, 1, 1]


def test_done_clips_are_dropped_from_the_plan(store: LocalStore) -> None:
    plan = next(index.read_plan(store))
    assert drop_done(plan, done(1, 3)).column("clip_id").to_pylist() == [
        make_clip(number).clip_id for number in range(ROWS_PER_FILE) if number not in {1, 3}
    ]
    assert drop_done(plan, done()[:0]).num_rows == ROWS_PER_FILE


def test_a_plan_that_is_gone_is_told(tmp_path: Path, local_ray: None) -> None:
    stage = HandOutStage(str(tmp_path), ray.put(done()[:0]), TaskSize(1))
    with pytest.raises(DatasetError, match=r"plan/00000\.parquet: does not exist"):
        next(stage(pa.Table.from_pylist([Slice("plan/00000.parquet", 0, 1)._asdict()])))


def test_all_clips_come_once_and_the_run_asks_the_policy(store: LocalStore, local_ray: None) -> None:
    num_clips = AHEAD_BLOCKS + SLICE_CLIPS
    index.write_plan(store, (make_clip(number).to_row() for number in range(num_clips)))
    clips = handed_out(store.uri, pending(store, retry_failed=False), TaskSize(16))
    assert AheadPolicy in clips.context.get_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, [])
    tasks = list(clips.iter_batches(batch_size=None, batch_format="pyarrow"))
    assert {task.num_rows for task in tasks} == {1}
    given = [clip_id for task in tasks for clip_id in ids_of(task)]
    assert sorted(given) == sorted(make_clip(number).clip_id for number in range(num_clips))


@pytest.mark.parametrize(
    ("num_waiting", "num_active", "may"),
    [(0, 0, True), (AHEAD_BLOCKS - SLICE_CLIPS, 0, True), (AHEAD_BLOCKS - SLICE_CLIPS + 1, 0, False), (0, 4, False)],
)
def test_a_slice_waits_while_many_clips_wait_or_are_about_to(num_waiting: int, num_active: int, may: bool) -> None:
    after = "cut"
    topology = {after: SimpleNamespace(total_enqueued_input_blocks=lambda: num_waiting)}
    policy = AheadPolicy(None, topology, None)
    names = ("MapBatches(HandOutStage)->StreamingRepartition", "MapBatches(CutStage)")
    ops = [
        SimpleNamespace(name=name, num_active_tasks=lambda: num_active, output_dependencies=[after]) for name in names
    ]
    assert [policy.can_add_input(op) for op in ops] == [may, True]


@pytest.mark.parametrize(
    ("num_cpus", "num_active", "may"), [(2, 3, True), (2, 4, False), (400, 99, True), (400, 100, False)]
)
def test_few_shards_are_written_at_once(num_cpus: int, num_active: int, may: bool) -> None:
    limits = SimpleNamespace(get_global_limits=lambda: SimpleNamespace(cpu=num_cpus))
    policy = FewWritesPolicy(None, {}, limits)
    ops = [SimpleNamespace(name=name, num_active_tasks=lambda: num_active) for name in (WRITE_OP, "MapBatches(cut)")]
    assert [policy.can_add_input(op) for op in ops] == [may, True]


def test_ray_calls_a_sink_as_it_is_known_here(local_ray: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store, seen = LocalStore(tmp_path), set[str]()
    index.write_plan(store, (make_clip(number).to_row() for number in range(3)))
    ask = FewWritesPolicy.can_add_input

    def noted(policy: FewWritesPolicy, op: Any) -> bool:
        seen.add(op.name)
        return ask(policy, op)

    monkeypatch.setattr(FewWritesPolicy, "can_add_input", noted)
    target = Target(store.uri, "run", ParquetConfig(), {})
    rows = handed_out(store.uri, pending(store, retry_failed=False), TaskSize(1)).map_batches(
        lambda tasks: crossing_row(clip := next(clips_of(tasks)), failure=clip),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=0.5,
    )
    rows.write_datasink(ShardSink(target, 0.0), ray_remote_args={"num_cpus": 0})
    assert WRITE_OP in seen


def test_pending_is_what_no_record_names(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "out")
    clips = [Clip(make_clip(number).source, 1.0, 3.5) for number in range(5)]
    index.write_plan(store, (clip.to_row() for clip in clips), rows_per_file=2)
    assert pending(store, retry_failed=False)[:2] == (5, 2.5)
    assert pending(store, retry_failed=False).num_left == 5
    write_failure(store, clips[0], "a")
    write_failure(store, clips[3], "b")
    left = pending(store, retry_failed=False)
    assert [clip_id.decode() for clip_id in left.skip] == sorted([clips[0].clip_id, clips[3].clip_id])
    assert left.num_left == 3
    assert pending(store, retry_failed=True).num_left == 5
