import io
from collections import Counter
from typing import Any

import pytest
from rich.console import Console

from mien.pipelines.ingest_item import CHECKING, DONE, DOWNLOADING, FAILED, KEPT, PUBLISHING
from mien.pipelines.ingest_table import Board, Progress, Seen, Teller, Work, counts_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Remote:
    """A board as its workers see it: every method is called by `.remote`."""

    def __init__(self, board: Board) -> None:
        self.calls = list[tuple[Any, ...]]()
        self.board = board

    @property
    def tell(self) -> "Remote":
        return self

    def remote(self, *arguments: Any) -> None:
        self.calls.append(arguments)
        self.board.tell(*arguments)


def shown(progress: Progress) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(progress.picture())
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_the_board_holds_the_items_at_work_and_sums_what_was_downloaded() -> None:
    clock = Clock()
    board = Board(clock)
    board.tell("a", "a.mp4", DOWNLOADING, 500, 1000)  # 500 were there already
    clock.now = 3.0
    board.tell("a", "a.mp4", DOWNLOADING, 900, 1000)
    board.tell("b", "b.mp4", CHECKING, 0, None)
    assert board.look() == Seen(
        {"a": Work("a.mp4", DOWNLOADING, 900, 1000, 0.0), "b": Work("b.mp4", CHECKING, 0, None, 3.0)}, 400, 3.0
    )
    board.tell("a", "a.mp4", DOWNLOADING, 100, 1000)  # its server has another version
    board.end("a")
    board.end("a")
    assert list(board.look().work) == ["b"]
    assert board.look().received_bytes == 400


def test_a_worker_tells_each_state_and_the_end_and_little_between() -> None:
    clock, remote = Clock(), Remote(Board())
    teller = Teller(remote, "a", "a.mp4", clock)
    for num_bytes in range(0, 1001, 10):
        clock.now += 0.01
        teller(DOWNLOADING, num_bytes, 1000)
    teller(PUBLISHING, 0, 1000)
    assert [(call[2], call[3]) for call in remote.calls] == [
        (DOWNLOADING, 0),
        (DOWNLOADING, 500),
        (DOWNLOADING, 1000),
        (PUBLISHING, 0),
    ]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress(lambda: Seen({}, 0, 0.0), num_items=10, num_before=2, clock=clock)


def test_a_line_says_share_pace_and_time_left(progress: Progress, clock: Clock) -> None:
    assert progress.line() == "2/10 items  20 %  0.0 MB"
    progress.ended.update({DONE: 2, KEPT: 1, FAILED: 1})
    clock.now = 10.0
    work = {"a": Work("a.mp4", DOWNLOADING, 50, 100, 0.0), "b": Work("b.mp4", CHECKING, 0, None, 0.0)}
    progress.see(Seen(work, 30_000_000, 10.0))
    assert progress.line() == (
        "6/10 items  60 %  30.0 MB  3.0 MB/s  1 checking  1 downloading  1 kept  1 failed  10 s left"
    )
    clock.now = 100.0
    progress.see(Seen({}, 30_000_000, 100.0))
    assert "MB/s" not in progress.line(), "the pace is that of the last minute"


def test_the_table_shows_items_at_work_and_no_name_drives_the_terminal(progress: Progress, clock: Clock) -> None:
    work = {"a": Work("a\x1b[31m[bold].mp4", DOWNLOADING, 50_000_000, 100_000_000, 0.0)}
    progress.see(Seen(work, 0, 75.0))
    text = shown(progress)
    assert "a\\x1b[31m[bold].mp4  downloading  50.0    50%" in text
    assert "\x1b[31m" not in text


def test_long_runs_keep_few_looks(progress: Progress, clock: Clock) -> None:
    for second in range(0, 1000, 10):
        clock.now = second
        progress.see(Seen({}, second * 1_000_000, second))
    assert "1.0 MB/s" in progress.line()


def test_the_end_of_a_run_is_told_in_words() -> None:
    assert counts_of(Counter({DONE: 3, FAILED: 1})) == "3 done, 1 failed"
    assert counts_of(Counter()) == "nothing to do"
