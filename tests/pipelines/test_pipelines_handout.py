"""The plan is handed out in slices: every clip that is left once, and only so many ahead of the work."""

from pathlib import Path

import numpy as np
import pytest

from mien.clips.clip import Clip
from mien.datasets import ids, index
from mien.errors import DatasetError
from mien.pipelines.handout import AHEAD_CLIPS, HandOut, Slice, drop_done, left_slices, pending, slices
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


def test_slices_hold_every_row_that_is_left_and_no_file_that_has_none() -> None:
    left = np.array([0, 1, 0, 1, 1, 0, 0, 1, 0], bool)
    assert list(slices("a", left, 2)) == [Slice("a", 1, 4), Slice("a", 4, 8)]
    assert list(slices("a", left, 4)) == [Slice("a", 1, 8)]
    assert list(slices("a", ~np.ones(9, bool))) == []


@pytest.mark.parametrize("skipped", [(), (0, 7, 49), range(20), range(20, 50), range(50)])
def test_what_is_not_done_is_handed_out_once_in_the_order_of_the_plan(
    store: LocalStore, skipped: tuple[int, ...]
) -> None:
    skip = done(*skipped)
    found = [piece for _, part in left_slices(store, skip) for piece in part]
    hand_out = HandOut(store, skip, lambda: 0)
    given = [clip_id for piece in found for clip_id in hand_out(piece).column("clip_id").to_pylist()]
    assert given == [make_clip(number).clip_id for number in range(NUM_CLIPS) if number not in set(skipped)]


def test_done_clips_are_dropped_from_the_plan(store: LocalStore) -> None:
    plan = next(index.read_plan(store))
    assert drop_done(plan, done(1, 3)).column("clip_id").to_pylist() == [
        make_clip(number).clip_id for number in range(ROWS_PER_FILE) if number not in {1, 3}
    ]
    assert drop_done(plan, done()[:0]).num_rows == ROWS_PER_FILE


class Work:
    """Cuts ten clips in each sleep."""

    def __init__(self) -> None:
        self.num_ended: int | None = 0
        self.num_sleeps = 0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        assert self.num_ended is not None
        self.num_sleeps += 1
        self.num_ended += 10


def many(store: LocalStore) -> tuple[Work, HandOut, list[Slice]]:
    """A plan larger than what is handed out ahead, in slices of a hundred."""
    index.write_plan(store, (make_clip(number).to_row() for number in range(AHEAD_CLIPS + 300)))
    (file,) = index.plan_files(store)
    work = Work()
    hand_out = HandOut(store, done()[:0], lambda: work.num_ended, work.sleep)
    return work, hand_out, list(slices(file, np.ones(AHEAD_CLIPS + 300, bool), 100))


def test_only_so_many_clips_are_ahead_of_the_work(store: LocalStore) -> None:
    work, hand_out, pieces = many(store)
    num_given = 0
    for piece in pieces:
        num_given += hand_out(piece).num_rows
        assert work.num_ended is not None
        assert num_given - work.num_ended <= AHEAD_CLIPS
    assert work.num_sleeps == 30, "300 clips too many, ten at a time"


def test_a_slice_that_was_lost_does_not_wait_for_the_work_that_waits_for_it(store: LocalStore) -> None:
    work, hand_out, pieces = many(store)
    for piece in pieces[: AHEAD_CLIPS // 100]:
        hand_out(piece)
    for piece in pieces[:10]:
        assert hand_out(piece).num_rows == 100
    assert work.num_sleeps == 0


def test_nothing_waits_when_nobody_counts_or_for_what_an_earlier_actor_gave(store: LocalStore) -> None:
    work, hand_out, pieces = many(store)
    work.num_ended = None
    assert sum(hand_out(piece).num_rows for piece in pieces) == AHEAD_CLIPS + 300
    work.num_ended = 1_000_000
    again = HandOut(store, done()[:0], lambda: work.num_ended, work.sleep)
    assert sum(again(piece).num_rows for piece in pieces[:40]) == 4000
    assert work.num_sleeps == 0


def test_a_plan_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"plan/00000\.parquet: does not exist"):
        HandOut(LocalStore(tmp_path), done()[:0], lambda: 0)(Slice("plan/00000.parquet", 0, 1))


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
