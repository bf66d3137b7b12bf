"""Between the workers of a run and whoever decides, report by report, whether it goes on."""

import asyncio
from collections.abc import Generator
from contextlib import closing
from typing import Any, NamedTuple

import ray

from mien.pipelines.cluster import beside_driver
from mien.training.world import World


class Report(NamedTuple):
    """What a run found by its validation after a step, of which there is a checkpoint."""

    step: int
    metrics: dict[str, float]


class Mail:
    """An actor: the first worker leaves a report and waits; whoever asks for the next one then answers."""

    def __init__(self) -> None:
        """Nothing was told."""
        self._reports = asyncio.Queue[tuple[int, Report] | None]()
        self._answers = list[asyncio.Future[bool]]()

    async def tell(self, report: Report) -> bool:
        """Leave a report; whether the run goes on. One of a worker that died is never answered, which hurts nobody."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        await self._reports.put((len(self._answers) - 1, report))
        return await answer

    async def next(self) -> tuple[int, Report] | None:
        """The next report and its number; None after the last."""
        return await self._reports.get()

    async def answer(self, number: int, goes_on: bool) -> None:
        """Of a report, by its number."""
        self._answers[number].set_result(goes_on)

    async def end(self) -> None:
        """There will be no more."""
        await self._reports.put(None)


def open_mail() -> Any:
    """A new one, which needs no CPU."""
    return ray.remote(Mail).options(**beside_driver()).remote()


def deliver(reports: Generator[Report], mail: Any, world: World) -> None:
    """On every worker: train, and stop when the answer to a report says so."""
    with closing(reports):
        for report in reports:
            goes_on = ray.get(mail.tell.remote(report)) if world.is_first else True
            if not all(world.objects(goes_on)):
                return


def collect(mail: Any) -> Generator[Report]:
    """Reports as they come; each is answered when the next one is asked for, or when this is closed."""
    while (told := ray.get(mail.next.remote())) is not None:
        number, report = told
        goes_on = False
        try:
            yield report
            goes_on = True
        finally:
            ray.get(mail.answer.remote(number, goes_on))
