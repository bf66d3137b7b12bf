"""Tables in Parquet beside the shards: small ones in memory, large ones read by row groups."""

import io
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mien import schema
from mien.datasets.frames import arrow_type
from mien.datasets.shard import readable, require_plain

ROW_GROUP_ROWS = 1024
"""Rows that are decoded to read one: 1.5 MB of an index, 2 to 3 ms."""
_MAX_GROUPS_KEPT = 32
_NEVER_TWICE = {"clip_id", "checksums", "error", "thumb"}
"""Columns for which a dictionary and statistics cost more than they save."""


def table_schema(columns: Sequence[schema.Column]) -> pa.Schema:
    """Arrow schema of a table whose columns are scalars, texts or byte strings."""
    return pa.schema([(column.name, arrow_type(column, ())) for column in columns])


def rows_to_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[schema.Column]) -> pa.Table:
    """A table of the given columns from plain rows."""
    return pa.Table.from_pylist(list(rows), schema=table_schema(columns))


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as one small Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def table_writer(path: Path, arrow_schema: pa.Schema) -> pq.ParquetWriter:
    """Writes a table that `TableFile` reads; give `write_table` the row group size ROW_GROUP_ROWS."""
    often = [name for name in arrow_schema.names if name not in _NEVER_TWICE]
    return pq.ParquetWriter(path, arrow_schema, compression="zstd", use_dictionary=often, write_statistics=often)


class TableFile:
    """A table in Parquet that stays on disk: a column, or the row groups of some rows, are read when asked for.

    The file stays open, so that it can be read after its name is gone.
    """

    def __init__(self, path: Path, place: str = "") -> None:
        """Open and read the footer; errors name the place, where the path is but a copy.

        Raises:
            DatasetError: It is not Parquet.
        """
        self._place = place or str(path)
        with readable(self._place, "is damaged"):
            self._file = pq.ParquetFile(path)
            require_plain(self._file.schema_arrow, self._place)
        counts = (self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups))
        self._starts: list[int] = [0, *accumulate(counts)]
        self._groups = dict[int, pa.Table]()

    @property
    def num_rows(self) -> int:
        """Rows of the table."""
        return self._starts[-1]

    @property
    def names(self) -> list[str]:
        """Columns that the file has; one of an earlier version lacks those that came since."""
        return list(self._file.schema_arrow.names)

    def __len__(self) -> int:
        """Rows of the table."""
        return self.num_rows

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all rows, in memory."""
        return self.table([name]).column(0)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, in memory: of an index with its checksums 1.5 kB each."""
        with readable(self._place, "is damaged"):
            return self._file.read(columns)

    def slice(self, start: int, num_rows: int = 1) -> pa.Table:
        """Some rows, by the row groups that hold them."""
        stop = min(start + num_rows, self.num_rows)
        if not 0 <= start < stop:
            return self._file.schema_arrow.empty_table()
        first, last = (bisect_right(self._starts, row) - 1 for row in (start, stop - 1))
        groups = [self._group(number) for number in range(first, last + 1)]
        return pa.concat_tables(groups).slice(start - self._starts[first], stop - start)

    def row(self, number: int) -> dict[str, Any]:
        """One row as plain values.

        Raises:
            IndexError: There is no such row.
        """
        if not 0 <= number < self.num_rows:
            raise IndexError(f"row {number} of {self.num_rows} in {self._place}")
        return dict(self.slice(number).to_pylist()[0])

    def _group(self, number: int) -> pa.Table:
        """A row group; the last few stay in memory, for neighbours are read one after the other."""
        if number not in self._groups:
            while len(self._groups) >= _MAX_GROUPS_KEPT:
                self._groups.pop(next(iter(self._groups)))
            with readable(self._place, "is damaged"):
                self._groups[number] = self._file.read_row_group(number, use_threads=False)
        return self._groups[number]
