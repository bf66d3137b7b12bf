"""Time two ways of doing the same work in one session, turn by turn."""

import statistics
import time
from collections.abc import Callable


def in_turn(ours: Callable[[], object], other: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    """Median seconds of each; they alternate, so that what slows the machine slows both. One untimed run each first."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for run, kept in zip((ours, other), seconds, strict=True):
            start = time.perf_counter()
            run()
            if turn:
                kept.append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])
