"""What a run says while it works: a live table on a terminal, otherwise one line per 30 s."""

import abc
import contextlib
import sys
import threading
from collections.abc import Iterator

import ray
from rich.console import Console, RenderableType
from rich.live import Live

from mien.log import logger

_LINE_EVERY_S = 30.0
_TABLE_EVERY_S = 0.5


class Shown(abc.ABC):
    """Something that is looked at again and again while a block runs, and told on stderr."""

    def __init__(self) -> None:
        """Nothing is shown yet."""
        self._stop = threading.Event()

    @abc.abstractmethod
    def update(self) -> None:
        """Look again; an error of Ray means that nobody knows more than before."""

    @abc.abstractmethod
    def picture(self) -> RenderableType:
        """What a terminal shows."""

    @abc.abstractmethod
    def lines(self) -> list[str]:
        """What is told where there is no terminal."""

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show it on stderr for the length of a block, and the last state at its end."""
        thread = threading.Thread(target=self._show, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _show(self) -> None:
        if sys.stderr.isatty():
            with Live(console=Console(stderr=True), auto_refresh=False) as live:
                while not self._ended(_TABLE_EVERY_S):
                    live.update(self.picture(), refresh=True)
                live.update(self.picture(), refresh=True)
        else:
            while not self._ended(_LINE_EVERY_S):
                for line in self.lines():
                    logger.info("%s", line)

    def _ended(self, wait_s: float) -> bool:
        """Wait, look, and tell whether the block has ended."""
        ended = self._stop.wait(wait_s)
        with contextlib.suppress(ray.exceptions.RayError):
            self.update()
        return ended
