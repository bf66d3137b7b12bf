"""Cells of the tables of a report page: how a number is written, what it is sorted by, where its interval is drawn."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mien.analysis.report_blocks import Cell, Table
from mien.evaluation.bootstrap import Estimate, NotMeasurable

MAX_ROWS = 400
"""Of a table on the page; of more, as many are shown, evenly chosen."""
MARK_WIDTH = 100.0
"""Of the scale on which intervals are drawn."""

_NONE = "–"
_EXACT = 10_000
"""Whole numbers from here on have their digits in groups."""
_TELLING = 1e-3
"""Numbers below are all 0 to three decimals."""


class Mark(NamedTuple):
    """A number and its interval on a scale from 0 to MARK_WIDTH."""

    value: float
    low: float
    high: float
    zero: float | None
    """Where 0 lies, if it does on the scale."""


class Shown(NamedTuple):
    """A cell as the page has it."""

    text: str
    sorted_by: float | None = None
    """None for what is no number."""
    interval: str = ""
    mark: Mark | None = None
    is_missing: bool = False


class ShownTable(NamedTuple):
    """A table as the page has it."""

    table: Table
    rows: list[list[Shown]]
    is_number: list[bool]
    """Of each column."""
    num_left_out: int


def shown_table(table: Table) -> ShownTable:
    """Every cell as text, and of a table that is too long an even choice, the first and the last row in it."""
    num = len(table.rows)
    kept = range(num) if num <= MAX_ROWS else np.linspace(0, num - 1, MAX_ROWS).round().astype(int)
    largest = _largest(cell for row in table.rows for cell in row) if table.has_marks else 0.0
    rows = [[shown(cell, largest) for cell in table.rows[number]] for number in kept]
    if table.has_marks:
        rows = [[_marked(one, cell, table) for one, cell in zip(row, table.rows[number], strict=True)]
                for row, number in zip(rows, kept, strict=True)]  # fmt: skip
    columns = list(zip(*rows, strict=True)) or [()] * len(table.columns)
    return ShownTable(table, rows, [_is_number(column) for column in columns], num - len(rows))


def shown(cell: Cell, largest: float = 0.0) -> Shown:
    """One cell: four digits of a number, and its interval beside it.

    Args:
        cell: What is in it.
        largest: Of the numbers that it is to be held against; of those of 0.001 and more three decimals are enough.
    """
    if isinstance(cell, Estimate):
        write = _three if max(largest, _largest([cell])) >= _TELLING else number
        has_interval = math.isfinite(cell.low) and math.isfinite(cell.high)
        interval = f"{write(cell.low)} to {write(cell.high)}" if has_interval else "no interval"
        return Shown(write(cell.value), _sortable(cell.value), interval, is_missing=not math.isfinite(cell.value))
    if isinstance(cell, NotMeasurable):
        return Shown(f"not measurable: {cell.reason}", is_missing=True)
    if cell is None:
        return Shown(_NONE, is_missing=True)
    if isinstance(cell, str):
        return Shown(cell)
    if isinstance(cell, bool):
        return Shown("yes" if cell else "no")
    return Shown(number(cell), _sortable(cell), is_missing=not math.isfinite(cell))


def number(value: float) -> str:
    """Whole numbers in full, others with four digits; what is no number, in words."""
    if isinstance(value, int):
        return (f"{value:,}" if abs(value) >= _EXACT else str(value)).replace("-", "−")
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "−∞"}.get(value, "not a number")
    return f"{value:.4g}".replace("-", "−")


def _three(value: float) -> str:
    """Three decimals, as `Estimate` has them, so that a column lines up; 0 has no sign."""
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "−") if abs(value) < _EXACT else number(value)


def _largest(cells: Iterable[Cell]) -> float:
    """Greatest distance from 0 of an estimate or of an end of its interval."""
    ends = (end for cell in cells if isinstance(cell, Estimate) for end in (cell.value, cell.low, cell.high))
    return max((abs(end) for end in ends if math.isfinite(end)), default=0.0)


def _sortable(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _is_number(column: Sequence[Shown]) -> bool:
    known = [one for one in column if not one.is_missing]
    return bool(known) and all(one.sorted_by is not None for one in known)


def _marked(one: Shown, cell: Cell, table: Table) -> Shown:
    if not isinstance(cell, Estimate) or not math.isfinite(cell.value):
        return one
    low, high = _scale(table)
    place = [MARK_WIDTH * (value - low) / (high - low) for value in (cell.value, cell.low, cell.high, 0.0)]
    value, start, end, zero = place
    has_interval = math.isfinite(start) and math.isfinite(end)
    is_on_scale = 0 <= zero <= MARK_WIDTH
    return one._replace(
        mark=Mark(
            value, start if has_interval else value, end if has_interval else value, zero if is_on_scale else None
        )
    )


def _scale(table: Table) -> tuple[float, float]:
    """From the least end of an interval to the greatest."""
    cells = [cell for row in table.rows for cell in row if isinstance(cell, Estimate)]
    ends = [end for cell in cells for end in (cell.value, cell.low, cell.high) if math.isfinite(end)]
    low, high = min(ends), max(ends)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
