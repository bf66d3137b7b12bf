"""How far a command over many videos is: a bar on a terminal, otherwise one line per 30 s; nothing for one video."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mien.datasets.status import duration
from mien.log import logger

_LINE_EVERY_S = 30.0


class Pace:
    """Counts videos up to a number that is known."""

    def __init__(self, num_videos: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is shown before the block is entered."""
        self._num_videos, self._clock = num_videos, clock
        self._num_done = 0
        self._started = self._told = clock()
        self._bar = _bar() if num_videos > 1 and sys.stderr.isatty() else None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Begin to count."""
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("videos", total=self._num_videos, failed="")
        return self

    def step(self, num_failed: int) -> None:
        """One more is done; so many have failed."""
        self._num_done += 1
        if self._bar is not None:
            self._bar.update(self._task, advance=1, failed=f"{num_failed} failed" if num_failed else "")
        elif self._clock() - self._told >= _LINE_EVERY_S:
            self._told = self._clock()
            logger.info("%s", self.line(num_failed))

    def line(self, num_failed: int) -> str:
        """Share done, time left, failures."""
        words = [f"{self._num_done}/{self._num_videos} videos"]
        words.append(f"{100 * self._num_done / max(1, self._num_videos):.0f} %")
        if 0 < self._num_done < self._num_videos:
            each_s = (self._clock() - self._started) / self._num_done
            words.append(f"{duration(each_s * (self._num_videos - self._num_done))} left")
        return "  ".join([*words, *([f"{num_failed} failed"] if num_failed else [])])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the terminal."""
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Progress:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("videos"), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[failed]}"), console=Console(stderr=True))
