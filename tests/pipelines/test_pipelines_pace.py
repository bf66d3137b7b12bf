"""The lines of a command over many videos, with a clock that the test turns."""

import logging

import pytest

from mien.log import logger
from mien.pipelines.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def told() -> object:
    lines = list[str]()
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_a_line_comes_every_thirty_seconds_and_tells_what_is_left(told: list[str]) -> None:
    clock = Clock()
    with Pace(10, clock) as pace:
        for number in range(9):
            clock.now_s += 12
            pace.step(num_failed=number // 5)
    assert told == [
        "3/10 videos  30 %  84 s left",
        "6/10 videos  60 %  48 s left  1 failed",
        "9/10 videos  90 %  12 s left  1 failed",
    ]


def test_one_video_is_no_reason_to_talk(told: list[str]) -> None:
    with Pace(1, Clock()) as pace:
        pace.step(0)
    assert told == []


def test_the_end_has_nothing_left() -> None:
    clock = Clock()
    pace = Pace(2, clock)
    clock.now_s += 1
    pace.step(0)
    pace.step(1)
    assert pace.line(1) == "2/2 videos  100 %  1 failed"
    assert Pace(0, clock).line(0) == "0/0 videos  0 %"
