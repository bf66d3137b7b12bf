"""Which clips are chosen, by tables that are written out here."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.datasets.split import SplitConfig
from mien.datasets.subjects import Subjects
from mien.datasets.tables import TableFile
from mien.training.clip_tasks import NOBODY, choose, people, spread

BY_TIME = SplitConfig(by="source_end", held_out=0.25)
TABLE = Subjects({"ann": 3, "bob": 1, "eve": 4}, 5)


def index(folder: Path, **changes: Any) -> TableFile:
    """Ann, Bob and somebody without a name, each in one video of four clips of ten frames a second apart."""
    names = np.repeat(["bob", "ann", ""], 4).tolist()
    columns: dict[str, Any] = {
        "subject": names,
        "source_uri": [f"/videos/{name or 'nobody'}.mp4" for name in names],
        "start_s": np.tile([0.0, 1.0, 2.0, 3.0], 3),
        "num_frames": np.full(12, 10),
        "num_detected": np.full(12, 10),
        "fps": np.full(12, 10.0),
    }
    pq.write_table(pa.table(columns | changes), folder / "index.parquet")
    return TableFile(folder / "index.parquet")


def test_both_sides_are_those_of_the_split(tmp_path: Path) -> None:
    seen, unseen, notes = choose(index(tmp_path), BY_TIME, TABLE, 1000)
    assert [task.sample for task in seen] == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert [task.sample for task in unseen] == [3, 7, 11]
    assert [task.is_held_out for task in seen + unseen] == [False] * 9 + [True] * 3
    assert [task.row for task in unseen] == [1, 3, 0]
    assert all(task.is_known for task in seen + unseen)
    assert notes == []


def test_a_target_is_somebody_else_whom_the_model_knows_by_name(tmp_path: Path) -> None:
    seen, unseen, _ = choose(index(tmp_path), BY_TIME, TABLE, 1000)
    bob, ann, nobody = unseen
    assert (bob.target, bob.target_row) == (ann.person, 3)
    assert (ann.target, ann.target_row) == (bob.person, 1)
    assert nobody.target == NOBODY
    assert {task.target for task in seen} == {NOBODY}


def test_people_without_a_row_or_without_training_clips_are_strangers(tmp_path: Path) -> None:
    table = Subjects({"bob": 1}, 2)
    unseen = choose(index(tmp_path), BY_TIME, table, 1000).unseen
    assert [task.is_known for task in unseen] == [True, False, True]
    assert {task.target for task in unseen} == {NOBODY}
    by_subject = choose(index(tmp_path), SplitConfig(by="subject", held_out=0.3), TABLE, 1000).unseen
    assert len({task.person for task in by_subject}) == 1
    assert not any(task.is_known for task in by_subject)
    assert {task.target for task in by_subject} == {NOBODY}


def test_clips_without_a_face_are_not_looked_at(tmp_path: Path) -> None:
    shown = np.full(12, 10)
    shown[[1, 3, 4, 5, 6]] = 0  # a held-out one of Bob, and all of Ann's training clips
    seen, unseen, _ = choose(index(tmp_path, num_detected=shown), BY_TIME, TABLE, 1000)
    assert [task.sample for task in seen] == [0, 2, 8, 9, 10]
    assert [(task.sample, task.is_known) for task in unseen] == [(7, False), (11, True)]


def test_a_dataset_of_which_nothing_can_be_held_out_is_told(tmp_path: Path) -> None:
    one = index(tmp_path, subject=["bob"] * 12)
    seen, unseen, notes = choose(one, SplitConfig(by="subject"), TABLE, 1000)
    assert len(seen) == 12
    assert unseen == []
    assert "nothing is held out" in notes[0]


def test_both_sides_are_thinned_to_the_same_people(tmp_path: Path) -> None:
    seen, unseen, notes = choose(index(tmp_path), BY_TIME, TABLE, 20)
    assert {task.person for task in seen} == {task.person for task in unseen}
    assert len(seen) == len(unseen) == 2
    assert notes == [
        "2 of 9 training clips were looked at (max_frames)",
        "2 of 3 held-out clips were looked at (max_frames)",
    ]


def test_people_are_subjects_or_videos_of_nobody(tmp_path: Path) -> None:
    sources = [f"/videos/{number}.mp4" for number in range(12)]
    found = people(index(tmp_path, source_uri=sources), TABLE)
    of_bob, of_ann, of_nobody = (found.of_sample[start : start + 4] for start in (0, 4, 8))
    assert len({*of_bob}) == len({*of_ann}) == 1
    assert len({*of_nobody}) == 4
    assert found.row[of_bob[0]] == 1
    assert set(found.row[of_nobody]) == {0}
    assert found.has_row.all()


@pytest.mark.parametrize(("max_frames", "kept"), [(80, range(8)), (79, [0, 1, 2, 3, 4, 5, 6]), (40, [0, 2, 4, 6])])
def test_what_is_kept_is_spread_evenly(max_frames: int, kept: list[int]) -> None:
    assert spread(np.full(8, 10), np.zeros(8, int), max_frames).tolist() == list(kept)


def test_everybodys_first_clip_comes_first_and_one_is_always_kept() -> None:
    person = np.array([5, 5, 5, 5, 5, 2, 7])
    assert spread(np.full(7, 10), person, 30).tolist() == [0, 5, 6]
    assert spread(np.full(7, 10), person, 20).tolist() == [0, 5]
    assert spread(np.full(7, 10), person, 5).tolist() == [5]
    assert spread(np.zeros(0, int), np.zeros(0, int), 5).tolist() == []


def test_more_clips_are_kept_of_whom_there_are_more() -> None:
    person = np.repeat([0, 1], [800, 200])
    kept = person[spread(np.full(1000, 10), person, 1000)]
    assert 15 <= (kept == 1).sum() <= 25
    assert len(kept) == 100
