"""Reports reach whoever decides, one at a time, and each waits for its own answer."""

import asyncio

from mien.training.mail import Mail, Report

FIRST, SECOND = Report(1, {"a": 1.0}), Report(2, {"a": 2.0})


def test_a_report_waits_for_its_answer() -> None:
    async def scene() -> list[object]:
        mail = Mail()
        first = asyncio.create_task(mail.tell(FIRST))
        told = await mail.next()
        waited = not first.done()
        await mail.answer(0, goes_on=True)
        second = asyncio.create_task(mail.tell(SECOND))
        also = await mail.next()
        await mail.answer(1, goes_on=False)
        await mail.end()
        return [told, waited, await first, also, await second, await mail.next()]

    assert asyncio.run(scene()) == [(0, FIRST), True, True, (1, SECOND), False, None]


def test_an_answer_does_not_go_to_a_report_of_a_worker_that_died() -> None:
    async def scene() -> tuple[bool, bool]:
        mail = Mail()
        lost = asyncio.create_task(mail.tell(FIRST))
        await mail.next()
        again = asyncio.create_task(mail.tell(FIRST))
        number, _ = (await mail.next()) or (-1, FIRST)
        await mail.answer(number, goes_on=True)
        answered = await again, lost.done()
        lost.cancel()
        return answered

    assert asyncio.run(scene()) == (True, False)
