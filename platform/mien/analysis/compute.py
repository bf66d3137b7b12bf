"""Who computes what is large: this process, or whoever is handed in. An analysis does not know which."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from mien.errors import MienError

Given = TypeVar("Given")
Found = TypeVar("Found")


class Task(NamedTuple, Generic[Given]):
    """A piece of work."""

    name: str
    """What messages call it."""
    given: Given

    def __str__(self) -> str:
        """What messages call it."""
        return self.name


Work = Callable[[Task[Given]], Found]


class Compute(Protocol):
    """Does the work of every task; results come in the order of the tasks."""

    def __call__(
        self, make: Callable[..., Work[Given, Found]], arguments: Sequence[Any], tasks: Iterable[Task[Given]]
    ) -> Iterator[Found]:
        """Begin.

        Args:
            make: A function of a module that loads networks and opens places, and gives the work. It is called once
                wherever some is done, and not at all without a task.
            arguments: What it is called with: anything that can be pickled. Places are opened where they are needed.
            tasks: Taken as they are needed, not all at once.

        Raises:
            MienError: What the work raised. The results before it were given.
        """


def here(
    make: Callable[..., Work[Given, Found]], arguments: Sequence[Any], tasks: Iterable[Task[Given]]
) -> Iterator[Found]:
    """The `Compute` of this process."""
    work: Work[Given, Found] | None = None
    for task in tasks:
        work = work or make(*arguments)
        yield work(task)


def named(work: Callable[[Given], Found]) -> Work[Given, Found]:
    """The same of a task; what goes wrong says in which."""

    def do(task: Task[Given]) -> Found:
        try:
            return work(task.given)
        except MienError as error:
            if task.name in str(error):
                raise
            raise type(error)(f"{task.name}: {error}") from error
        except Exception as defect:
            reason = f"{type(defect).__name__}: {defect}".partition("\n")[0]
            raise MienError(f"{task.name}: {reason}; a defect of mien, please report it") from defect

    return do
