import io
import sys

import pytest
import ray
from rich.console import Console

from mien.pipelines.progress import Progress
from mien.pipelines.tally import RECENT_S, Counts, StageCount, Straggler, Tally


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def seen(progress: Progress, clock: Clock, at: float, **stages: StageCount) -> Progress:
    clock.now = at
    progress.see(Counts(stages, 0.0, ""))
    return progress


def text_of(progress: Progress) -> list[str]:
    console = Console(file=io.StringIO(), width=160)
    console.print(progress.picture())
    return [line.strip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_line_counts_what_earlier_runs_did(clock: Clock) -> None:
    progress = seen(Progress(None, 10, 5, clock), clock, 60, cut=StageCount(2, 1, 60, 1.0))
    assert progress.line() == "7/10 clips  70 %  90 s left  1 failed"


def test_a_clip_is_done_when_it_left_the_last_stage_or_failed(clock: Clock) -> None:
    progress = Progress(None, 10, 0, clock)
    seen(progress, clock, 1, cut=StageCount(8, 2, 300), features=StageCount(3, 0, 90))
    assert progress.line().startswith("5/10 clips  50 %")


def test_a_clip_that_is_counted_again_does_not_make_more_than_all(clock: Clock) -> None:
    assert seen(Progress(None, 10, 5, clock), clock, 1, cut=StageCount(7)).line() == "10/10 clips  100 %"


def test_counts_that_begin_again_make_no_rate_or_time_negative_and_lose_nothing(clock: Clock) -> None:
    progress = Progress(None, 20, 5, clock)
    seen(progress, clock, 60, cut=StageCount(8, 1, 900, 50.0, workers=2))
    seen(progress, clock, 70, cut=StageCount(0))
    assert progress.line() == "13/20 clips  65 %"
    seen(progress, clock, 100, cut=StageCount(2, 0, 60, 30.0, workers=1))
    assert progress.line() == "15/20 clips  75 %  75 s left"
    (view,) = progress.views()
    assert (view.frames_per_s, view.busy, view.queue) == (2.0, 1.0, 5)


def test_time_left_and_rates_are_those_of_the_last_minutes(clock: Clock) -> None:
    progress = Progress(None, 10_000, 0, clock)
    seen(progress, clock, 1000, cut=StageCount(100, 0, 1000))
    for step in range(1, 31):  # five minutes at four clips per second
        seen(progress, clock, 1000 + 10 * step, cut=StageCount(100 + 40 * step, 0, 1000 + 400 * step))
    assert progress.line() == f"1300/10000 clips  13 %  {8700 / 4 / 60:.0f} min left"
    assert progress.views()[0].frames_per_s == pytest.approx(40)
    assert len(progress._looks) == RECENT_S / 10 + 1


def test_the_stage_whose_workers_are_busiest_limits_and_not_the_one_with_the_most_work(clock: Clock) -> None:
    progress = Progress(None, 100, 20, clock)
    stages = {"cut": StageCount(40, 4, 900, 400, workers=8), "features": StageCount(30, 0, 800, 95, workers=1)}
    rows = text_of(seen(progress, clock, 100, **stages))
    assert rows[1].split() == ["cut", "40", "4", "9.0", "40", "50%"]
    assert rows[2].split() == ["features", "30", "0", "8.0", "6", "95%", "←", "limiting"]


def test_workers_are_as_many_as_were_ever_seen_at_once_lately(clock: Clock) -> None:
    progress = Progress(None, 100, 0, clock)
    seen(progress, clock, 10, cut=StageCount(busy_s=20, workers=4))
    seen(progress, clock, 20, cut=StageCount(busy_s=40, workers=1))
    assert progress.views()[0].busy == pytest.approx(0.5)


def test_a_single_stage_is_not_marked_and_nobody_is_busier_than_always(clock: Clock) -> None:
    rows = text_of(seen(Progress(None, 10, 0, clock), clock, 1, cut=StageCount(3, 0, 9, 7.0, workers=1)))
    assert rows[1].split() == ["cut", "3", "0", "9.0", "7", "100%"]


def test_nothing_done_yet_promises_no_time(clock: Clock) -> None:
    progress = seen(Progress(None, 10, 0, clock), clock, 30, cut=StageCount(), features=StageCount())
    assert progress.line() == "0/10 clips  0 %"
    assert any(line.startswith("cut") for line in text_of(progress))


def test_the_slowest_clips_are_named_with_their_node(clock: Clock) -> None:
    slow = [Straggler(f"{n:032x}", f"/videos/[x] {n}.mp4", f"node-{n} (pid 7)", 60.0 * (9 - n)) for n in range(5)]
    progress = Progress(None, 10, 0, clock)
    progress.see(Counts({"cut": StageCount(1)}, 0.0, "", tuple(slow)))
    lines = progress.waiting()
    assert lines[0] == f"waiting for clip {0:032x} ([x] 0.mp4) on node node-0 (pid 7) for 9 min"
    assert len(lines) == 3
    assert text_of(progress)[-3:] == lines


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
