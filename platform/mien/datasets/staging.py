"""How a finished dataset goes over to other tables while it is read: whoever opens it gets index and failures of one.

The completion record names its tables, by their usual names or by others. New tables are first written under names of
their own, and one replacement of the record makes them count. Only then are those at the usual names replaced, and the
record again, and what was staged goes. So the tables that a record names never change while it stands.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mien.errors import DatasetError
from mien.storage.commit import new_write_id
from mien.storage.uri import Store

PREFIX = "staged-"
"""Beginning of the names of tables on their way to their usual ones."""

TABLES = "tables"
"""Key of the completion record while it names staged tables: usual name -> name."""

_MAX_READS = 10

T = TypeVar("T")


def place_of(record: Mapping[str, Any], name: str) -> str:
    """Where the table of a usual name is now."""
    return str(record.get(TABLES, {}).get(name, name))


def stage(
    store: Store,
    name: str,
    record: Mapping[str, Any],
    tables: Mapping[str, Path],
    files: Iterable[Mapping[str, Any]],
) -> None:
    """Let readers go over to other tables in one step; nothing is done where none read yet, or they are the same.

    Args:
        store: The dataset.
        name: Where the completion record is.
        record: The one that stands, empty for none.
        tables: Usual name -> finished local file.
        files: Name and digest of each.
    """
    known = {file["name"]: file["sha256"] for file in record.get("files", [])}
    is_same = all(known.get(file["name"]) == file["sha256"] for file in files)
    if not record or (is_same and TABLES not in record):
        return
    attempt = new_write_id()
    staged = {usual: f"{PREFIX}{attempt}-{usual}" for usual in tables}
    for usual, path in tables.items():
        store.publish(path, staged[usual])
    store.replace(name, json.dumps({**record, TABLES: staged}, indent=1).encode())


def clear(store: Store) -> None:
    """Remove what was staged; only right when the completion record names the usual places."""
    for entry in list(store.list(PREFIX)):
        store.delete(entry.name)


def read_together(
    read_record: Callable[[], dict[str, Any]], read_tables: Callable[[dict[str, Any]], T]
) -> tuple[dict[str, Any], T]:
    """Completion record and what belongs to it, also while another process publishes.

    They belong together if the record is the same after reading as before; otherwise both are read again.

    Raises:
        DatasetError: What the record names cannot be read, or the record was another one each time.
    """
    for _ in range(_MAX_READS):
        record = read_record()
        try:
            tables = read_tables(record)
        except DatasetError:
            if read_record() == record:
                raise
            continue
        if read_record() == record:
            return record, tables
    raise DatasetError(f"the dataset was published {_MAX_READS} times while it was opened; open it again")
