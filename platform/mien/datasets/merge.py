"""Commit records into index and failures, in the order of the plan, with a part of the plan in memory at a time.

Clips are finished in any order, so the rows of the records are first spread over one local file per part of the plan;
then each part is read, put in order and appended to the two tables. In memory are one part, and 40 bytes per clip.
"""

import base64
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mien import schema
from mien.datasets.ids import NOWHERE, Lookup, from_texts
from mien.datasets.tables import ROW_GROUP_ROWS, table_schema, table_writer
from mien.errors import DatasetError

PART_ROWS = 16_384
"""Clips of a part: 25 MB of the index."""
WAITING_ROWS = 4096
"""Rows of either table that wait in memory until they are spread."""
_PLACE, _RECORD = "place", "record"
_SPILLED = pa.ipc.IpcWriteOptions(compression="zstd")


class Merged(NamedTuple):
    """What the commit records of a dataset come to."""

    index_path: Path
    """One row per sample, in the order of the plan, then of the track."""
    failures_path: Path
    """One row per clip that was tried and never made, in the order of the plan."""
    num_clips: int
    """Clips in the index."""
    num_missing: int
    """Planned clips in neither table."""
    first_missing: str
    """Id of the first of them, empty where there is none."""


class Merge:
    """Takes commit records in the order of their names, then writes the tables.

    For each clip the samples of the first record that made it count, and success beats failure.
    """

    def __init__(
        self, planned: Lookup, folder: Path, part_rows: int = PART_ROWS, waiting_rows: int = WAITING_ROWS
    ) -> None:
        """Use a local folder that exists for what does not fit into memory."""
        self._planned, self._folder, self._part_rows, self._waiting_rows = planned, folder, part_rows, waiting_rows
        self._made = Spill(folder / "made", schema.INDEX, planned, part_rows)
        self._failed = Spill(folder / "failed", schema.FAILURES, planned, part_rows)
        self._num_records = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Take the rows of one commit record.

        Raises:
            DatasetError: It names a clip that is not in the plan.
        """
        self._made.add(record["samples"], self._num_records)
        self._failed.add([_failure_row(failure) for failure in record["failures"]], self._num_records)
        self._num_records += 1
        for spill in (self._made, self._failed):
            if spill.num_waiting >= self._waiting_rows:
                spill.spread()

    def write(self) -> Merged:
        """Write both tables below the folder.

        Raises:
            DatasetError: A record names a clip that is not in the plan.
        """
        paths = self._folder / "index.parquet", self._folder / "failures.parquet"
        num_clips, missing = 0, list[np.ndarray]()
        with (
            table_writer(paths[0], table_schema(schema.INDEX)) as index,
            table_writer(paths[1], table_schema(schema.FAILURES)) as failures,
        ):
            for number in range(-(-len(self._planned) // self._part_rows)):
                made, places = first_made(self._made.part(number))
                lost, lost_places = never_made(self._failed.part(number), places)
                index.write_table(made, ROW_GROUP_ROWS)
                failures.write_table(lost, ROW_GROUP_ROWS)
                num_clips += len(places)
                missing.append(self._missing(number, np.concatenate([places, lost_places])))
        return Merged(*paths, num_clips, *self._first_of(np.concatenate([*missing, np.empty(0, int)])))

    def _missing(self, number: int, named: np.ndarray) -> np.ndarray:
        """Places of a part that are not named; a clip that is planned twice is named at its first place."""
        stop = min(len(self._planned), (number + 1) * self._part_rows)
        places = np.setdiff1d(np.arange(number * self._part_rows, stop), named)
        is_first = self._planned.first(self._planned.ids[places]) == places
        return np.asarray(places[is_first])

    def _first_of(self, missing: np.ndarray) -> tuple[int, str]:
        return len(missing), self._planned.ids[missing[0]].decode() if len(missing) else ""


class Spill:
    """Rows of one table on their way from commit records to the order of the plan: an Arrow file per part of it."""

    def __init__(self, folder: Path, columns: Sequence[schema.Column], planned: Lookup, part_rows: int) -> None:
        """Make the folder."""
        folder.mkdir()
        self._folder, self._planned, self._part_rows = folder, planned, part_rows
        self._columns = table_schema(columns)
        self._schema = self._columns.append(pa.field(_PLACE, pa.int64())).append(pa.field(_RECORD, pa.int64()))
        self._rows = list[Mapping[str, Any]]()
        self._records = list[int]()

    def add(self, rows: Sequence[Mapping[str, Any]], record: int) -> None:
        """Take rows of a numbered record; they wait in memory."""
        self._rows += rows
        self._records += [record] * len(rows)

    @property
    def num_waiting(self) -> int:
        """Rows in memory."""
        return len(self._rows)

    def part(self, number: int) -> pa.Table:
        """All rows of one part, in no order; to be asked for once, when all rows are there."""
        self.spread()
        path = self._path(number)
        if not path.exists():
            return self._schema.empty_table()
        tables = list[pa.Table]()
        with pa.OSFile(str(path)) as file:
            while file.tell() < file.size():
                tables.append(pa.ipc.open_stream(file).read_all())
        path.unlink()
        return pa.concat_tables(tables).combine_chunks()

    def spread(self) -> None:
        """Append the rows that wait to the files of their parts, each time as one more Arrow stream."""
        if not self._rows:
            return
        places = self._places([row["clip_id"] for row in self._rows])
        table = pa.Table.from_pylist(self._rows, schema=self._columns)
        table = table.append_column(_PLACE, pa.array(places)).append_column(
            _RECORD, pa.array(self._records, pa.int64())
        )
        self._rows, self._records = [], []
        order = np.argsort(places, kind="stable")
        table, parts = table.take(order), places[order] // self._part_rows
        for start, stop in pairwise([*run_starts(parts), len(parts)]):
            with (
                self._path(int(parts[start])).open("ab") as file,
                pa.ipc.new_stream(file, self._schema, options=_SPILLED) as stream,
            ):
                stream.write_table(table.slice(start, stop - start))

    def _places(self, clip_ids: Sequence[str]) -> np.ndarray:
        places = self._planned.first(from_texts(clip_ids))
        strangers = np.flatnonzero(places == NOWHERE)
        if len(strangers):
            raise DatasetError(
                f"clip {clip_ids[strangers[0]]}: a commit record names it, the plan does not; plan and commits are of "
                "two datasets, so restore the plan, or start over with --fresh"
            )
        return places

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.arrow"


def _failure_row(failure: Mapping[str, Any]) -> dict[str, Any]:
    """A commit record is JSON, so it carries the thumbnail in base64."""
    return {**failure, "thumb": base64.b64decode(failure["thumb"]), "attempts": 1}


def run_starts(values: np.ndarray) -> np.ndarray:
    """Where each run of equal values begins, of values from 0 on that are sorted."""
    return np.flatnonzero(np.diff(values, prepend=-1))


def first_made(part: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Rows of the index and the places of their clips: of each clip the samples in the first record, by track."""
    places, records, tracks = (part.column(name).to_numpy() for name in (_PLACE, _RECORD, "track"))
    order = np.lexsort((tracks, records, places))
    places, records = places[order], records[order]
    starts = run_starts(places)
    lengths = np.diff(np.append(starts, len(places)))
    is_first = records == np.repeat(records[starts], lengths)
    return part.take(order[is_first]).select(schema.names(schema.INDEX)), places[starts]


def never_made(part: pa.Table, made: np.ndarray) -> tuple[pa.Table, np.ndarray]:
    """Rows of the failures and their places: of each clip that is not made the first failure, and how many it had."""
    places, records = (part.column(name).to_numpy() for name in (_PLACE, _RECORD))
    order = np.lexsort((records, places))
    places = places[order]
    starts = run_starts(places)
    attempts = np.diff(np.append(starts, len(places)))
    is_lost = ~np.isin(places[starts], made)
    rows = part.take(order[starts[is_lost]]).select(schema.names(schema.FAILURES))
    at = rows.schema.get_field_index("attempts")
    return rows.set_column(at, "attempts", pa.array(attempts[is_lost], pa.int64())), places[starts[is_lost]]
