"""No person, no moment and no frame is on both sides."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien import schema
from mien.datasets.split import HELD_OUT, LEFT_OUT, TRAIN, SplitConfig, spans, split
from mien.datasets.tables import TableFile, rows_to_table, table_writer
from mien.errors import ConfigError


def table(path: Path, rows: list[dict[str, Any]]) -> TableFile:
    blank = {"end_s": np.inf, "fps": 25.0, "subject": "", "source_uri": "/v.mp4"}
    made = rows_to_table((blank | row for row in rows), schema.INDEX)
    with table_writer(path / "index.parquet", made.schema) as writer:
        writer.write_table(made)
    return TableFile(path / "index.parquet")


def clip(start_s: float, stop_s: float, source: str = "/v.mp4", fps: float = 25.0, subject: str = "") -> dict[str, Any]:
    frames = round((stop_s - start_s) * fps)
    return {"start_s": start_s, "num_frames": frames, "fps": fps, "source_uri": source, "subject": subject}


def by_time(path: Path, rows: list[dict[str, Any]], held_out: float = 0.2) -> list[int]:
    return split(table(path, rows), SplitConfig(by="source_end", held_out=held_out)).tolist()  # type: ignore[no-any-return]


def test_a_subject_is_on_one_side_with_all_of_its_clips(tmp_path: Path) -> None:
    rows = [clip(0, 1, f"/{number}.mp4", subject=f"s{number % 20}") for number in range(100)]
    parts = split(table(tmp_path, rows), SplitConfig(held_out=0.1))
    sides = [{int(parts[number]) for number in range(who, 100, 20)} for who in range(20)]
    assert all(len(side) == 1 for side in sides)
    assert sorted(side.pop() for side in sides) == [TRAIN] * 18 + [HELD_OUT] * 2


def test_who_is_unknown_is_told_apart_by_the_video(tmp_path: Path) -> None:
    rows = [clip(number, number + 1, f"/{number % 5}.mp4") for number in range(20)]
    parts = split(table(tmp_path, rows), SplitConfig())
    assert all(len({int(parts[number]) for number in range(video, 20, 5)}) == 1 for video in range(5))
    assert (parts == HELD_OUT).sum() == 4


def test_the_choice_follows_from_seed_and_names_and_not_from_the_order(tmp_path: Path) -> None:
    rows = [clip(0, 1, subject=f"s{number}") for number in range(30)]
    parts = split(table(tmp_path, rows), SplitConfig(held_out=0.3))
    back = split(table(tmp_path, rows[::-1]), SplitConfig(held_out=0.3))
    assert parts.tolist() == back[::-1].tolist()
    assert parts.tolist() != split(table(tmp_path, rows), SplitConfig(held_out=0.3, seed=1)).tolist()
    more = [*rows, clip(0, 1, subject="new")]
    moved = split(table(tmp_path, more), SplitConfig(held_out=0.3))[:-1] != parts
    assert moved.sum() <= 2, "one more subject changes few sides"


@pytest.mark.parametrize("held_out", [0.01, 0.99])
def test_each_side_has_a_subject(tmp_path: Path, held_out: float) -> None:
    parts = split(table(tmp_path, [clip(0, 1, subject=f"s{n}") for n in range(3)]), SplitConfig(held_out=held_out))
    assert {TRAIN, HELD_OUT} == {*parts.tolist()}


@pytest.mark.parametrize("by", ["subject", "source_end"])
def test_a_side_without_a_sample_is_refused(tmp_path: Path, by: str) -> None:
    with pytest.raises(ConfigError, match=f"split.by={by}, .*no sample of 1 is held out"):
        split(table(tmp_path, [clip(0, 10, subject="s0")]), SplitConfig.parse({"by": by}, "test"))


def test_the_end_of_every_video_is_held_out_and_what_reaches_over_is_left_out(tmp_path: Path) -> None:
    rows = [clip(0, 4), clip(4, 8), clip(8, 10), clip(6, 9), clip(0, 50, "/w.mp4"), clip(60, 100, "/w.mp4")]
    assert by_time(tmp_path, rows) == [TRAIN, TRAIN, HELD_OUT, LEFT_OUT, TRAIN, LEFT_OUT]


def test_a_video_that_is_one_clip_trains(tmp_path: Path) -> None:
    rows = [clip(0, 10), clip(0, 5, "/w.mp4"), clip(5, 10, "/w.mp4")]
    assert by_time(tmp_path, rows, held_out=0.5) == [TRAIN, TRAIN, HELD_OUT]


def test_a_clip_of_the_whole_video_does_not_train_beside_its_held_out_end(tmp_path: Path) -> None:
    assert by_time(tmp_path, [clip(0, 10), clip(0, 5), clip(8.4, 10)]) == [LEFT_OUT, TRAIN, HELD_OUT]


def test_the_plan_may_say_that_a_clip_ends_with_its_video(tmp_path: Path) -> None:
    start_s, stop_s = spans(table(tmp_path, [clip(3, 5, fps=50.0)]))
    np.testing.assert_allclose([start_s[0], stop_s[0]], [3, 5])


def test_no_frame_trains_at_a_time_that_is_held_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    starts = rng.uniform(0, 100, 400)
    rows = [clip(start, start + rng.uniform(0.2, 9), f"/{n % 7}.mp4") for n, start in enumerate(starts)]
    index = table(tmp_path, rows)
    parts = split(index, SplitConfig(by="source_end", held_out=0.25))
    start_s, stop_s = spans(index)
    sources = np.array([row["source_uri"] for row in rows])
    for source in {*sources}:
        last = stop_s[(sources == source) & (parts == TRAIN)].max()
        first = start_s[(sources == source) & (parts == HELD_OUT)].min()
        assert last - 1 / 25 <= first, "not even by one frame"
    assert {*parts.tolist()} == {TRAIN, HELD_OUT, LEFT_OUT}
