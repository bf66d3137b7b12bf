"""Work in this process: made when it is needed, done in order, and what goes wrong says in which task."""

from collections.abc import Iterator

import pytest

from mien.analysis.compute import Task, Work, here, named
from mien.errors import CheckpointError, MienError


def test_work_is_made_once_and_with_the_first_task(capsys: pytest.CaptureFixture[str]) -> None:
    def make(factor: int) -> Work[int, int]:
        print("made")
        return named(lambda number: factor * number)

    def tasks(num: int) -> Iterator[Task[int]]:
        for number in range(num):
            print(f"task {number}")
            yield Task(str(number), number)

    assert [*here(make, [3], tasks(0))] == []
    assert capsys.readouterr().out == ""
    found = here(make, [3], tasks(3))
    assert next(found) == 0
    assert capsys.readouterr().out == "task 0\nmade\n", "tasks are taken as they are needed"
    assert [*found] == [3, 6]
    assert capsys.readouterr().out == "task 1\ntask 2\n"


def test_an_error_says_in_which_task_and_stays_what_it_is() -> None:
    def work(error: Exception) -> None:
        raise error

    do = named(work)
    with pytest.raises(CheckpointError, match=r"^clip abc: is damaged$"):
        do(Task("clip abc", CheckpointError("is damaged")))
    with pytest.raises(CheckpointError, match=r"^clip abc has no face$"):
        do(Task("clip abc", CheckpointError("clip abc has no face")))
    with pytest.raises(MienError, match=r"^clip abc: KeyError: 'x'; a defect of mien") as found:
        do(Task("clip abc", KeyError("x")))
    assert isinstance(found.value.__cause__, KeyError)
