"""The log of a run, read back as series of numbers: one line of JSON per logged step, in segments by checkpoint."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.errors import DatasetError
from mien.evaluation.embedded import Floats, Ints
from mien.storage.uri import Store

FOLDER = "log/"
KINDS = ("train", "validation")
"""Of the lines that hold numbers; the others tell what happened."""


@dataclass(frozen=True)
class Series:
    """A number at rising steps."""

    step: Ints
    """[n]."""
    value: Floats
    """[n]; NaN and infinity as the run had them."""

    @property
    def known(self) -> "Series":
        """Without what is not finite."""
        kept = np.isfinite(self.value)
        return Series(self.step[kept], self.value[kept])


@dataclass(frozen=True)
class Logged:
    """What a run wrote down."""

    uri: str
    series: Mapping[str, Mapping[str, Series]]
    """train or validation -> name -> its values."""
    starts: tuple[int, ...]
    """Steps at which workers began: 0, and one for each time that the run went on."""

    @property
    def last_step(self) -> int:
        """Of all that was logged."""
        return max(int(series.step[-1]) for kind in KINDS for series in self.series[kind].values())

    def names(self) -> list[str]:
        """All numbers, in the order in which they were logged first."""
        return list(dict.fromkeys(name for kind in KINDS for name in self.series[kind]))


def read(store: Store) -> Iterator[dict[str, Any]]:
    """Every line of a run's log, in the order of the steps.

    Raises:
        DatasetError: A line is no JSON.
        StorageError: It cannot be read.
    """
    for entry in store.list(FOLDER):
        if entry.name.endswith(".jsonl"):
            for number, line in enumerate(store.read(entry.name).splitlines(), 1):
                yield _parsed(line, f"{store.uri}/{entry.name}: line {number}")


def logged(store: Store) -> Logged:
    """Series of all numbers of a run, which may still be going on.

    Raises:
        DatasetError: There is no log, no number in it, or it is damaged.
        StorageError: It cannot be read.
    """
    columns: dict[str, dict[str, tuple[list[int], list[float]]]] = {kind: {} for kind in KINDS}
    starts = []
    for line in read(store):
        if line["kind"] in columns:
            _add(columns[line["kind"]], line)
        elif line.get("event") == "start":
            starts.append(line["step"])
    if not any(columns.values()):
        raise DatasetError(
            f"{store.uri}: has no numbers in {FOLDER}; give the output of `mien train` after its first logged step"
        )
    series = {
        kind: {name: Series(np.array(step), np.array(value)) for name, (step, value) in found.items()}
        for kind, found in columns.items()
    }
    return Logged(store.uri, series, tuple(starts))


def _parsed(line: bytes, place: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
        if isinstance(values, dict) and isinstance(values.get("step"), int) and isinstance(values.get("kind"), str):
            return values
    except ValueError:
        pass
    raise DatasetError(f"{place} is no step of a run; restore the file, or delete it and lose its steps")


def _add(columns: dict[str, tuple[list[int], list[float]]], line: Mapping[str, Any]) -> None:
    for name, value in _numbers(line.items()):
        steps, values = columns.setdefault(name, ([], []))
        steps.append(line["step"])
        values.append(value)


def _numbers(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, float]]:
    """Numbers alone; JSON has no infinity, so that it stands there as a word."""
    for name, value in items:
        is_word = value in {"nan", "inf", "-inf"} if isinstance(value, str) else False
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name not in {"step", "kind", "time"} and (is_number or is_word):
            yield name, float(value)
