"""Rows by the source that they are about: a join that takes little memory however many rows there are."""

import json
import sqlite3
from typing import Any, NamedTuple

from mien.clips.naming import as_named

_CACHE_KIB = 64 * 1024
"""Memory of the table; what does not fit is in a temporary file, which goes with the process."""


class Unused(NamedTuple):
    """A row that no source asked for."""

    line: int
    uri: str


class BySource:
    """Values by the place of their source, in the order in which they were added; `TAR/NAME` is a member of a tar.

    SQLite does it: a hash join by itself, in a temporary file that nobody else sees. For one thread.
    """

    def __init__(self) -> None:
        """An empty table."""
        self._rows = sqlite3.connect("")  # a private temporary file
        self._rows.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._rows.execute("PRAGMA journal_mode = OFF")
        self._rows.execute("PRAGMA synchronous = OFF")
        self._rows.execute(
            "CREATE TABLE rows (number INTEGER PRIMARY KEY, uri TEXT, mark TEXT, line INTEGER, value TEXT,"
            " UNIQUE (uri, mark))"
        )
        self._is_used = bytearray()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._is_used)

    def add(self, uri: str, line: int, value: Any, mark: str = "") -> int:
        """Add a value that JSON can hold, unless there is one of the same source and mark.

        Returns:
            The line of the one that stands there; 0 if there is none, so that the value was added.
        """
        uri = as_named(uri)
        row = len(self._is_used), uri, mark, line, json.dumps(value, default=str)
        if self._rows.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?)", row).rowcount:
            self._is_used.append(0)
            return 0
        standing = self._rows.execute("SELECT line FROM rows WHERE uri = ? AND mark = ?", (uri, mark)).fetchone()
        return int(standing[0])

    def of(self, uri: str) -> list[Any]:
        """The values of a source; its rows are used from now on."""
        select = "SELECT number, value FROM rows WHERE uri = ? ORDER BY number"
        found = self._rows.execute(select, (as_named(uri),)).fetchall()
        for number, _ in found:
            self._is_used[number] = 1
        return [json.loads(value) for _, value in found]

    @property
    def num_unused(self) -> int:
        """Rows that no source asked for."""
        return self._is_used.count(0)

    def unused(self, limit: int) -> list[Unused]:
        """The first of them."""
        found, number = list[Unused](), self._is_used.find(0)
        while number >= 0 and len(found) < limit:
            row = self._rows.execute("SELECT line, uri FROM rows WHERE number = ?", (number,)).fetchone()
            found.append(Unused(*row))
            number = self._is_used.find(0, number + 1)
        return found
