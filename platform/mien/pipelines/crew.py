"""A crew of actors, each with one task at a time: results in the order of the tasks, and deaths that are outlived."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import ray

MAX_DEATHS = 3
"""Actors that a task may cost."""
_WINDOW = 256
"""Tasks at most between the first that is not done and the last that was begun: a long one does not hold up others,
and what waits for it stays within bounds."""
_WAIT_S = 30.0

Task = TypeVar("Task")
Found = TypeVar("Found")


def in_order(
    hire: Callable[[], Any], num_actors: int, tasks: Iterable[Task], given_up: Callable[[Task, int], Found]
) -> Iterator[Found]:
    """Results in the order of the tasks; an actor that is free takes the next, what comes early waits.

    Args:
        hire: Starts an actor with a method `do` from a task to its result, called when there is work for one more. An
            actor that dies is replaced.
        num_actors: At work at once, at most.
        tasks: Taken one at a time.
        given_up: Result of a task that cost so many actors.

    Raises:
        RayError: An actor cannot be started, or what it raised.
    """
    crew = _Crew(hire, num_actors, given_up)
    numbered, done, num_given = enumerate(tasks), dict[int, Found](), 0
    try:
        while True:
            while crew.has_room and crew.num_running + len(done) < _WINDOW and (item := next(numbered, None)):
                crew.begin(*item)
            if not crew.num_running:
                return
            done |= crew.finished()
            while num_given in done:
                yield done.pop(num_given)
                num_given += 1
    finally:
        crew.dismiss()  # the next stage needs their CPUs


class _Turn(NamedTuple):
    """A task that an actor is at work on."""

    number: int
    task: Any
    actor: Any
    attempt: int = 1


class _Crew(Generic[Task, Found]):
    """Actors with one task each. Ray can restart an actor, but would fail what is sent while it does."""

    def __init__(self, hire: Callable[[], Any], num_actors: int, given_up: Callable[[Task, int], Found]) -> None:
        self._hire, self._num_vacant, self._given_up = hire, num_actors, given_up
        self._free, self._running = deque[Any](), dict[Any, _Turn]()

    @property
    def has_room(self) -> bool:
        return bool(self._free) or self._num_vacant > 0

    @property
    def num_running(self) -> int:
        return len(self._running)

    def begin(self, number: int, task: Task) -> None:
        if not self._free:
            self._free.append(self._hire())
            self._num_vacant -= 1
        self._send(_Turn(number, task, self._free.popleft()))

    def finished(self) -> dict[int, Found]:
        """Results of the tasks that are done, by number, after a while at most."""
        done = dict[int, Found]()
        for reference in ray.wait(list(self._running), timeout=_WAIT_S)[0]:
            turn = self._running.pop(reference)
            try:
                done[turn.number] = ray.get(reference)
                self._free.append(turn.actor)
            except ray.exceptions.RayActorError as error:
                if error.actor_init_failed:  # says nothing of the task: no actor would start
                    raise
                done |= self._after_death(turn)
        return done

    def _after_death(self, turn: _Turn) -> dict[int, Found]:
        """Try the task again with a new actor; one that cost so many is given up."""
        actor = self._hire()
        if turn.attempt < MAX_DEATHS:
            self._send(turn._replace(actor=actor, attempt=turn.attempt + 1))
            return {}
        self._free.append(actor)
        return {turn.number: self._given_up(turn.task, turn.attempt)}

    def _send(self, turn: _Turn) -> None:
        self._running[turn.actor.do.remote(turn.task)] = turn

    def dismiss(self) -> None:
        """End all actors, and wait until Ray knows: their CPUs are free then, and it may be shut down."""
        actors = [*self._free, *(turn.actor for turn in self._running.values())]
        for actor in actors:
            ray.kill(actor)
        if actors:
            ends = [actor.__ray_ready__.remote() for actor in actors]  # fails when the end is known
            ray.wait(ends, num_returns=len(ends), timeout=_WAIT_S)
