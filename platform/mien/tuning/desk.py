"""What trials leave in the output of their sweep: where each lies, what it reported, why it failed.

A sweep goes on from these files alone, on any machine; nothing else of it is kept. One trial is

    trials/00003/run_000.json        what is trained: place, values, and whose checkpoint it began with
    trials/00003/run_000.jsonl       a line for each report
    trials/00003/run_000/            the run itself, as of `mien train`
    trials/00003/failure.json        why it failed

A trial of a population that goes on from another's checkpoint has a run more; the newest one counts.
"""

import json
import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from mien.analysis.trials import State, Trial
from mien.errors import AlreadyExists
from mien.storage.uri import Store, open_store

FOLDER = "trials/"
_RECORD = re.compile(rf"{FOLDER}(\d+)/run_(\d+)\.json")
_READERS = 16


class Donor(NamedTuple):
    """The checkpoint that a run began with."""

    number: int
    """Of the trial."""
    run: int
    """Of its runs."""
    step: int


class Run(NamedTuple):
    """One run of a trial, as it was begun."""

    number: int
    """Of the trial."""
    run: int
    """Of its runs."""
    values: dict[str, Any]
    """Dotted key -> value."""
    place: dict[str, float]
    """Where these lie in the space; empty for a repeat."""
    repeat: int = 0
    """0 for a trial, 1 and more for its repeats."""
    repeat_of: int | None = None
    """Trial whose values these are."""
    donor: Donor | None = None

    @property
    def name(self) -> str:
        """Below the output, of everything that belongs to it."""
        return f"{folder(self.number)}run_{self.run:03d}"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """What `to_bytes` made."""
        read = cls(**json.loads(data))
        return read._replace(donor=Donor(*read.donor)) if read.donor else read

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(self._asdict(), indent=1).encode()


class Told(NamedTuple):
    """A report of a run."""

    step: int
    metrics: dict[str, float]
    seconds: float
    """What the run took up to there."""
    is_last: bool = False
    """Whether the training ended with it."""


class Stretch(NamedTuple):
    """Part of the way of a trial: a run, as far as it is one's own or was gone on from."""

    run: Run
    told: list[Told]


def folder(number: int) -> str:
    """Of a trial, below the output."""
    return f"{FOLDER}{number:05d}/"


def begin(store: Store, run: Run) -> Run:
    """Write down a run; one that was begun under its name before stands."""
    try:
        store.put_new(f"{run.name}.json", run.to_bytes())
    except AlreadyExists:
        return Run.parse(store.read(f"{run.name}.json"))
    return run


def newest(store: Store, number: int) -> Run | None:
    """The run of a trial that counts."""
    names = [entry.name for entry in store.list(f"{folder(number)}run_") if _RECORD.fullmatch(entry.name)]
    return Run.parse(store.read(names[-1])) if names else None


def training_of(store: Store, run: Run) -> Store:
    """Where a run trains."""
    return open_store(f"{store.uri}/{run.name}")


def write_told(store: Store, run: Run, told: Sequence[Told]) -> None:
    """All reports of a run."""
    lines = [json.dumps(one._asdict()) for one in told]
    store.replace(f"{run.name}.jsonl", "\n".join([*lines, ""]).encode())


def read_told(store: Store, run: Run) -> list[Told]:
    """What a run reported so far."""
    name = f"{run.name}.jsonl"
    is_there = any(entry.name == name for entry in store.list(name))
    return [Told(**json.loads(line)) for line in store.read(name).decode().splitlines()] if is_there else []


def fail(store: Store, number: int, reason: str) -> None:
    """Write down why a trial failed."""
    store.replace(_failure(number), json.dumps({"reason": reason}).encode())


def failure(store: Store, number: int) -> str:
    """Why a trial failed; empty if it did not."""
    is_there = any(entry.name == _failure(number) for entry in store.list(_failure(number)))
    return str(json.loads(store.read(_failure(number)))["reason"]) if is_there else ""


def forgive(store: Store) -> int:
    """Let all failed trials be tried again; how many there were."""
    names = [entry.name for entry in store.list(FOLDER) if entry.name.endswith("/failure.json")]
    for name in names:
        store.delete(name)
    return len(names)


def _failure(number: int) -> str:
    return f"{folder(number)}failure.json"


@dataclass(frozen=True)
class Book:
    """Everything that is written down, read once."""

    runs: dict[tuple[int, int], Run]
    """Number of the trial and of the run -> it."""
    told: dict[tuple[int, int], list[Told]]
    failures: dict[int, str]
    """Number of the trial -> reason."""

    def trials(self, *, is_over: bool) -> list[Trial]:
        """All of them, by number; where the sweep is over, those that neither ended nor failed were stopped."""
        numbers = sorted({number for number, _ in self.runs})
        return [self._trial(number, is_over=is_over) for number in numbers]

    def way(self, number: int) -> list[Stretch]:
        """How a trial came to where it is, from step 0 on, through the trials that it went on from."""
        place, until = (number, max(run for owner, run in self.runs if owner == number)), math.inf
        found = list[Stretch]()
        while True:
            run = self.runs[place]
            found.append(Stretch(run, [one for one in self.told[place] if one.step <= until]))
            if run.donor is None:
                return found[::-1]
            place, until = (run.donor.number, run.donor.run), run.donor.step

    def _trial(self, number: int, *, is_over: bool) -> Trial:
        way = self.way(number)
        run, told = way[-1]
        is_done = bool(told) and told[-1].is_last
        state: State = "failed" if number in self.failures else "done" if is_done else "stopped"
        own = [told for (owner, _), told in self.told.items() if owner == number and told]
        return Trial(
            number=number,
            state="running" if state == "stopped" and not is_over else state,
            values=run.values,
            history=tuple((one.step, one.metrics) for stretch in way for one in stretch.told),
            seconds=sum(told[-1].seconds for told in own),
            reason=self.failures.get(number, ""),
            repeat_of=run.repeat_of,
            seed=run.repeat,
        )


def read_all(store: Store) -> Book:
    """Every record of a sweep."""
    names = [entry.name for entry in store.list(FOLDER)]
    numbers = {int(name.split("/")[1]) for name in names if name.endswith("/failure.json")}
    with ThreadPoolExecutor(_READERS) as pool:
        runs = [*pool.map(lambda name: Run.parse(store.read(name)), filter(_RECORD.fullmatch, names))]
        told = [*pool.map(lambda run: read_told(store, run), runs)]
        reasons = [*pool.map(lambda number: failure(store, number), numbers)]
    places = [(run.number, run.run) for run in runs]
    return Book(
        dict(zip(places, runs, strict=True)),
        dict(zip(places, told, strict=True)),
        dict(zip(numbers, reasons, strict=True)),
    )
