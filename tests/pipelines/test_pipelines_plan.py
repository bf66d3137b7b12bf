from pathlib import Path

import pytest

from mien.clips.clip import Clip
from mien.datasets import index
from mien.errors import ConfigError, PreflightError
from mien.pipelines.plan import (
    PlanConfig,
    Planner,
    preview_plan,
    require_video,
    standing_plan,
    write_plan,
)
from mien.storage.local import LocalStore
from sample_datasets import make_clip


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Files that are videos by name: planning whole clips reads none of them."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(5):
        (folder / f"v{number}.mp4").write_bytes(b"x" * (number + 1))
    (folder / "notes.txt").write_text("x")
    return folder


def config(videos: Path, **values: object) -> PlanConfig:
    return PlanConfig.parse({"source": str(videos), **values}, "test")


def test_every_video_is_a_row_and_the_report_counts_them(videos: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "out")
    report = write_plan(Planner(config(videos)), store)
    rows = [row for table in index.read_plan(store) for row in table.to_pylist()]
    assert [Path(row["source_uri"]).name for row in rows] == [f"v{n}.mp4" for n in range(5)]
    assert (report.num_clips, report.num_sources, report.num_skipped, report.source_bytes) == (5, 5, 1, 15)


def test_another_video_changes_no_other_id(videos: Path) -> None:
    _, before = preview_plan(config(videos))
    (videos / "a.mp4").write_bytes(b"new")
    _, after = preview_plan(config(videos))
    assert [row["clip_id"] for row in after[1:]] == [row["clip_id"] for row in before]


def test_a_changed_video_gets_another_id(videos: Path) -> None:
    _, before = preview_plan(config(videos))
    (videos / "v0.mp4").write_bytes(b"changed")
    _, after = preview_plan(config(videos))
    assert before[0]["clip_id"] != after[0]["clip_id"]
    assert before[1:] == after[1:]


def test_the_preview_is_the_plan_and_writes_nothing(videos: Path, tmp_path: Path) -> None:
    report, rows = preview_plan(config(videos), num_rows=2)
    assert len(rows) == 2
    assert report == write_plan(Planner(config(videos)), LocalStore(tmp_path / "out"))
    assert sorted(path.name for path in videos.parent.iterdir()) == ["out", "videos"]


def test_real_videos_are_cut_by_stride(faces_dir: Path) -> None:
    report, _ = preview_plan(config(faces_dir, clips={"kind": "stride", "length_s": 2, "stride_s": 2}))
    # Seconds of d0 d18 d19 d3 d9 s13 s20 s32: 3.12 7.2 8.33 11.8 19.57 4.12 9.9 6.0; rests under 1 s are left out.
    assert report.num_clips == 2 + 4 + 4 + 6 + 10 + 2 + 5 + 3


@pytest.mark.parametrize("make", ["empty", "nothing"])
def test_a_source_without_videos_is_one_clear_error(tmp_path: Path, make: str) -> None:
    folder = tmp_path / "folder"
    if make == "empty":
        folder.mkdir()
    for check in (require_video, preview_plan):
        with pytest.raises(PreflightError, match="folder"):
            check(config(folder))


def test_a_missing_source_key_says_how_to_give_it() -> None:
    with pytest.raises(ConfigError, match="source=PLACE"):
        preview_plan(PlanConfig())


def test_the_first_rows_are_part_of_the_one_walk(videos: Path) -> None:
    planner = Planner(config(videos))
    first = planner.first(2)
    assert planner.report().num_clips == 2, "no further than asked for"
    (videos / "z.mp4").write_bytes(b"a second walk would find it")
    assert planner.first(1) == first[:1]
    rows = list(planner.rows())
    assert rows[:2] == first
    assert [Path(row["source_uri"]).name for row in rows] == [f"v{n}.mp4" for n in range(5)]


def test_the_standing_plan_is_what_was_reported(videos: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "out")
    planner = Planner(config(videos))
    first = planner.first(3)
    report = write_plan(planner, store)
    assert standing_plan(store, num_rows=3) == (report._replace(num_skipped=0), first)


def test_sources_of_the_standing_plan_are_counted_across_its_files(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "out")
    clips = [Clip(make_clip(number // 4).source, float(number), number + 1.0) for number in range(10)]
    index.write_plan(store, (clip.to_row() for clip in clips), rows_per_file=3)
    report, rows = standing_plan(store, num_rows=5)
    assert (report.num_clips, report.num_sources, report.source_bytes) == (10, 3, 1000 + 1001 + 1002)
    assert rows == [clip.to_row() for clip in clips[:5]]
