"""Time two ways of doing the same work in one session, turn by turn."""

import statistics
import time
from collections.abc import Callable


def in_turn(
    ours: Callable[[], object],
    other: Callable[[], object],
    repeats: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Median seconds of each; they alternate, so that what slows the machine slows both. One untimed run each first.

    `clock=time.process_time` counts only what this process computes: for work on one thread, on a busy machine.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for run, kept in zip((ours, other), seconds, strict=True):
            start = clock()
            run()
            if turn:
                kept.append(clock() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])
