"""Odd names of videos from the plan to the failure: row 35 of SECURITY.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import run_here
from hostile_names import FILE_NAMES
from mien.faces.detect import FakeDetector
from mien.log import printable
from mien.pipelines.cut import CutConfig, Cutter
from mien.pipelines.plan import PlanConfig, Planner
from mien.pipelines.sink import FAILURE
from mien.pipelines.stages import cut_row
from mien.video.limits import LimitsConfig


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in FILE_NAMES:
        (folder / f"{name}.mp4").write_bytes(b"no video")
        (folder / f"{name}.txt").touch()
    return folder


def test_every_name_is_planned_as_it_is(videos: Path) -> None:
    rows = list(Planner(PlanConfig(source=str(videos))).rows())
    assert {Path(row["source_uri"]).name for row in rows} == {f"{name}.mp4" for name in FILE_NAMES}
    assert len({row["clip_id"] for row in rows}) == len(FILE_NAMES) >= 30


def test_a_failure_names_the_video_on_one_printable_line(videos: Path) -> None:
    cutter = Cutter(CutConfig(), LimitsConfig(), FakeDetector([]), None)
    for row in Planner(PlanConfig(source=str(videos))).rows():
        failed: dict[str, Any] = json.loads(cut_row(cutter, row)[0].column(FAILURE)[0].as_py())
        assert failed["source_uri"] == row["source_uri"], "the row keeps the true name"
        assert failed["error"].isprintable()
        assert failed["error"].startswith(printable(row["source_uri"]) + ": ")
        assert failed["error_type"] == "MediaError"


def test_the_terminal_sees_escapes_and_nothing_is_written(videos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(path.relative_to(videos.parent) for path in videos.parent.rglob("*"))
    for words in (("plan", f"source={videos}"), ("plan", f"source={videos}", "--json")):
        ended = run_here(capfd, *words)
        assert ended.code == 0
        shown = ended.out + ended.err
        assert [char for char in set(shown) if not char.isprintable() and char != "\n"] == []
        assert "\\x1b[31mred" in shown or "\\u001b[31mred" in shown
    assert [line for line in ended.err.splitlines() if line.startswith("lines.")] == [], "no name begins a line"
    assert sorted(path.relative_to(videos.parent) for path in videos.parent.rglob("*")) == before
