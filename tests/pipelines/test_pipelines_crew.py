"""Actors on a real Ray: results in the order of the tasks whatever ends first, and what becomes of those that die."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

from mien.pipelines.crew import _WINDOW, in_order


def staged(*, fails: bool = False) -> Callable[[], Any]:
    """Makes actors that tell of a task what it is: one that is a number below 0 waits for as many others, `deadly` ends
    them. Classes of this function travel by value, since no worker can import a test."""

    class Finished:
        num = 0

        def add(self, num: int) -> int:
            self.num += num
            return self.num

    class StagedActor:
        def __init__(self, finished: Any) -> None:
            self._finished = finished
            if fails:
                raise ValueError("no such model")

        def do(self, task: Any) -> str:
            if task == "deadly":
                os._exit(1)
            while isinstance(task, int) and ray.get(self._finished.add.remote(0)) < -task:
                pass
            ray.get(self._finished.add.remote(1))
            return f"did {task}"

    finished = ray.remote(Finished).options(num_cpus=0).remote()
    return lambda: ray.remote(StagedActor).options(num_cpus=0).remote(finished)


def given_up(task: object, num_deaths: int) -> str:
    return f"{task} cost {num_deaths}"


def test_results_come_in_the_order_of_the_tasks_whatever_ends_first(local_ray: None) -> None:
    tasks = [-5, *range(6), -7]
    assert list(in_order(staged(), 2, iter(tasks), given_up)) == [f"did {task}" for task in tasks]


def test_no_actor_is_hired_before_there_is_work_for_it() -> None:
    def never() -> Any:
        raise AssertionError

    assert list(in_order(never, 2, [], given_up)) == []


def test_tasks_are_taken_as_they_are_needed(local_ray: None) -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for number in range(3 * _WINDOW):
            taken.append(number)
            yield number

    results = in_order(staged(), 2, tasks(), given_up)
    assert [next(results) for _ in range(3)] == ["did 0", "did 1", "did 2"]
    assert len(taken) <= _WINDOW + 3
    results.close()  # type: ignore[attr-defined]


def test_a_task_that_ends_its_actors_is_given_up_and_the_others_are_done(local_ray: None) -> None:
    assert list(in_order(staged(), 1, ["a", "deadly", "b"], given_up)) == ["did a", "deadly cost 3", "did b"]


def test_an_actor_that_does_not_start_blames_no_task(local_ray: None) -> None:
    with pytest.raises(ray.exceptions.RayActorError, match="no such model"):
        list(in_order(staged(fails=True), 1, ["a"], given_up))
