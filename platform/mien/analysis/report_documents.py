"""Tables of a JSON document that a job of mien left: numbers with their intervals, columns, lists of rows."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mien.analysis.report_blocks import Cell, Table
from mien.errors import DatasetError
from mien.evaluation.bootstrap import Estimate, NotMeasurable
from mien.evaluation.report import words
from mien.storage.uri import Store

_INTERVAL = ("value", "low", "high")
_MAX_TABLES = 12
"""Of one document; more are no longer read by anybody, and all of it is linked."""
_MAX_COLUMNS = 16


def read(store: Store, name: str) -> dict[str, Any]:
    """A document.

    Raises:
        DatasetError: It is no JSON object.
        StorageError: It cannot be read.
    """
    try:
        document = json.loads(store.read(name))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise DatasetError(f"{store.uri}/{name}: is no JSON object; make it again")
    return document


def tables(document: Any, title: str, raw: str = "") -> tuple[Table, ...]:
    """First the single numbers, then columns that belong together, then lists of rows.

    Args:
        document: Plain values, as JSON has them.
        title: Of the first table; others add where they were found.
        raw: Name of the document, beside the page.
    """
    singles = [(words(" · ".join(path)), cell) for path, cell in _singles(document, ())]
    first = Table(title, ("Measure", "Value"), tuple(singles), raw=raw)
    found = [_named(title, path, table, raw) for path, table in _inner(document, ())]
    return (*([first] if singles else []), *found)[:_MAX_TABLES]


def cell_of(value: Any) -> Cell:
    """A value of JSON as a cell.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, Mapping):
        if value.keys() == {*_INTERVAL}:
            return Estimate(*(math.nan if value[name] is None else float(value[name]) for name in _INTERVAL))
        if value.keys() == {"not_measurable"}:
            return NotMeasurable(str(value["not_measurable"]))
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError("no cell")


def _is_cell(value: Any) -> bool:
    try:
        cell_of(value)
    except (ValueError, TypeError):
        return False
    return True


def _singles(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Cell]]:
    if path and _is_cell(value):
        yield path, cell_of(value)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _singles(inner, (*path, str(name)))


Rows = tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]
"""Names of the columns, and rows."""


def _inner(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Rows]]:
    """Tables within: of every mapping its lists of cells, side by side where they are equally long."""
    if not isinstance(value, Mapping):
        return
    by_length = dict[int, dict[str, Sequence[Any]]]()
    for name, inner in value.items():
        if isinstance(inner, list) and inner:
            if all(map(_is_cell, inner)):
                by_length.setdefault(len(inner), {})[str(name)] = inner
            elif all(isinstance(row, Mapping) for row in inner):
                yield (*path, str(name)), _of_rows(inner)
    for num, columns in by_length.items():
        names = [*columns][:_MAX_COLUMNS]
        rows = (tuple(cell_of(columns[name][place]) for name in names) for place in range(num))
        yield (*path, *(names[:1] if len(names) == 1 else [])), (tuple(map(words, names)), tuple(rows))
    for name, inner in value.items():
        yield from _inner(inner, (*path, str(name)))


def _of_rows(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """A column for each name that has a cell in some row."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if _is_cell(value))
    kept = [*names][:_MAX_COLUMNS]
    cells = (tuple(cell_of(row.get(name)) if _is_cell(row.get(name)) else None for name in kept) for row in rows)
    return tuple(words(str(name)) for name in kept), tuple(cells)


def _named(title: str, path: tuple[str, ...], of: Rows, raw: str) -> Table:
    columns, rows = of
    return Table(" · ".join([title, *map(words, path)]), columns, rows, raw=raw)
