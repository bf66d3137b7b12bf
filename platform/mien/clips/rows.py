"""Rows of a table that a person brings: CSV, JSON lines, Parquet or one place a line, read as a stream."""

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mien.errors import ConfigError, PreflightError, StorageError
from mien.log import printable
from mien.storage.uri import canonical, open_store

_BATCH_ROWS = 8192
MAX_SHOWN = 5
"""Rows that an error names; it counts the others."""


class Row(NamedTuple):
    """One row of a table."""

    line: int
    """As a person counts: of a text the line of the file, of Parquet the row; 1 is the first."""
    values: dict[str, Any]
    """Column -> plain value; None where the row has none."""


def local_copy(place: str) -> Path:
    """A file of the local disk or of a bucket, as a local path.

    Raises:
        PreflightError: It is not there, or may not be read.
    """
    folder, _, name = canonical(place).rpartition("/")
    try:
        return open_store(folder or "/").fetch(name)
    except StorageError as error:
        raise PreflightError(f"{error}; check the place") from None


def read_rows(place: str) -> Iterator[Row]:
    """Every row of a table, by the ending of its name; a few thousand are in memory at a time.

    Raises:
        PreflightError: It is not there, or may not be read.
        ConfigError: It is of no kind that is known, or a line of it is damaged.
    """
    suffix = PurePosixPath(place).suffix.lower()
    if suffix not in READERS:
        raise ConfigError(f"{printable(place)}: is no table by its ending; give one of {' '.join(READERS)}")
    path = local_copy(place)
    try:
        yield from READERS[suffix](path)
    except (ValueError, csv.Error, OSError, pa.ArrowException) as error:  # UnicodeDecodeError and JSON errors are both
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else " ".join(str(error).split())
        raise ConfigError(f"{printable(place)}: cannot be read: {printable(reason):.300}") from None


def _lines(path: Path) -> Iterator[Row]:
    """One place a line; empty lines are passed over."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield Row(number, {"source": line.strip()})


def _csv(path: Path) -> Iterator[Row]:
    """Values are texts, empty ones None; a header names the columns."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        for values in reader:
            if None in values:
                raise ValueError(f"line {reader.line_num} has more values than the header has columns")
            yield Row(reader.line_num, {key: value or None for key, value in values.items()})


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    values = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"line {number} is no JSON: {error}") from None
                if not isinstance(values, dict):
                    raise ValueError(f'line {number} is no object; write {{"source": …}}')
                yield Row(number, values)


def _parquet(path: Path) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        for field in file.schema_arrow:
            _require_plain(field)
        number = 0
        for batch in file.iter_batches(_BATCH_ROWS):
            for values in batch.to_pylist():
                number += 1
                yield Row(number, {key: _or_none(value) for key, value in values.items()})


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".txt": _lines,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
"""Ending -> reader."""


def _require_plain(field: Any) -> None:
    """Refuse extension types: Ray registers one whose values are unpickled when they are looked at."""
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        raise ValueError(f"column {field.name} is of an extension type; write it as numbers or texts")
    for number in range(kind.num_fields):
        _require_plain(kind.field(number))


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def number_of(value: Any) -> float | None:
    """A value of a row as a number; None where there is none.

    Raises:
        ValueError: It is something else.
    """
    if value is None or value == "":
        return None
    return float(value)


def length_of(value: Any) -> float | None:
    """The length of a video, s; None where there is none.

    Raises:
        ValueError: It is no length.
    """
    length_s = number_of(value)
    if length_s is not None and not 0 < length_s < math.inf:
        raise ValueError(f"{value} is no length")
    return length_s


def name_of(value: Any) -> str:
    """A name or number as text, empty where there is none; tables make 12.0 of a number 12."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def refuse(place: str, problems: list[tuple[int, str]], num_problems: int) -> None:
    """Tell what is wrong with the rows of a table, line by line; nothing happens where nothing is.

    Raises:
        ConfigError: Something is.
    """
    if not num_problems:
        return
    told = "; ".join(f"line {line}: {what}" for line, what in problems[:MAX_SHOWN])
    more = f"; and {num_problems - MAX_SHOWN} more" if num_problems > MAX_SHOWN else ""
    rows = "1 row" if num_problems == 1 else f"{num_problems} rows"
    raise ConfigError(f"{printable(place)}: {rows} cannot be used: {told}{more}")
