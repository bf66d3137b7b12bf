import io
import sys
import time

import pytest
import ray
from rich.console import Console

from mien.pipelines.progress import Counts, Progress, StageCount, Tally


def text_of(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(progress.table())
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def progress_with(counts: Counts, num_clips: int = 10, num_done: int = 0) -> Progress:
    progress = Progress(None, num_clips, num_done)
    progress.counts = counts
    return progress


def test_the_line_counts_what_earlier_runs_did() -> None:
    progress = progress_with(Counts({"cut": StageCount(2, 1, 60, 1.0)}, 0.0, ""), num_clips=10, num_done=5)
    assert progress.line().startswith("7/10 clips  70 %")
    assert "1 failed" in progress.line()
    assert "s left" in progress.line()


def test_a_clip_is_done_when_it_left_the_last_stage_or_failed() -> None:
    stages = {"cut": StageCount(8, 2, 300, 1.0), "features": StageCount(3, 0, 90, 2.0)}
    assert progress_with(Counts(stages, 0.0, "")).line().startswith("5/10 clips  50 %")


def test_the_table_marks_the_stage_that_limits() -> None:
    stages = {"cut": StageCount(8, 0, 300, 1.0), "features": StageCount(3, 0, 90, 5.0)}
    rows = [line for line in text_of(progress_with(Counts(stages, 0.0, ""))).splitlines() if "limiting" in line]
    assert len(rows) == 1
    assert rows[0].strip().startswith("features")


def test_nothing_done_yet_promises_no_time() -> None:
    progress = progress_with(Counts({"cut": StageCount()}, 0.0, ""))
    assert progress.line() == "0/10 clips  0 %"
    assert "cut" in text_of(progress)


def test_the_tally_adds_up_and_knows_the_first_clip(local_ray: None) -> None:
    before = time.time()
    tally = ray.remote(Tally).remote(["cut", "features"])
    for stage, frames, failure in [("cut", 30, ""), ("cut", 0, "no face"), ("features", 30, "")]:
        ray.get(tally.add.remote(stage, frames, 0.5, failure))
    counts = ray.get(tally.counts.remote())
    assert counts.stages == {"cut": StageCount(2, 1, 30, 1.0), "features": StageCount(1, 0, 30, 0.5)}
    assert counts.last_failure == "no face"
    assert before <= counts.first_clip_at <= time.time()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_what_is_shown_ends_with_the_last_state(
    local_ray: None, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    tally = ray.remote(Tally).remote(["cut"])
    progress = Progress(tally, 1, 0)
    with progress.shown():
        ray.get(tally.add.remote("cut", 30, 0.5, ""))
    assert progress.line() == "1/1 clips  100 %"
