"""What is shown is looked at a last time when the block ends, also when nobody answers any more."""

import ray
from rich.text import Text

from mien.pipelines.shown import Shown


class Counted(Shown):
    """Counts how often it is looked at."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.num_looks, self._error = 0, error

    def update(self) -> None:
        self.num_looks += 1
        if self._error:
            raise self._error

    def picture(self) -> Text:
        return Text("")

    def lines(self) -> list[str]:
        return []


def test_the_last_state_is_seen_when_the_block_ends() -> None:
    counted = Counted()
    with counted.shown():
        pass
    assert counted.num_looks == 1


def test_a_ray_that_is_gone_ends_nothing() -> None:
    counted = Counted(ray.exceptions.GetTimeoutError("gone"))
    with counted.shown():
        pass
    assert counted.num_looks == 1
