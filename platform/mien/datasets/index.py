"""The tables beside the shards: plan, index and failures, and how commit records become the last two.

The index is the truth: for every clip it names the rows of one committed shard. Where several committed shards hold a
clip (a worker that was thought dead, a rerun), the first record by name that made it counts; success beats failure.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mien import schema
from mien.datasets import ids
from mien.datasets.effort import Effort
from mien.datasets.merge import PART_ROWS, Merge, Merged
from mien.datasets.shard import readable, require_plain
from mien.datasets.staging import place_of
from mien.datasets.tables import TableFile, parquet_bytes, rows_to_table
from mien.errors import DatasetError, NoSpace, StorageError, Unavailable
from mien.storage.commit import commit_files, first_commit, parse, read_commits, sum_up
from mien.storage.local import translated
from mien.storage.uri import Store

PLAN_FOLDER = "plan/"
INDEX = "index.parquet"
FAILURES = "failures.parquet"
MATCHES = "matches.json"
"""What a keyword plan found: matches of every keyword, also of those that occur nowhere."""
PLAN_ROWS = 65_536
"""Clips of one file of the plan."""


class Tables(NamedTuple):
    """The two tables that tell what came of the planned clips."""

    index_file: TableFile
    """`mien.schema.INDEX`."""
    failure_file: TableFile
    """`mien.schema.FAILURES`."""


def read_parquet(store: Store, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """One small Parquet table of a dataset, or some columns of it.

    Raises:
        DatasetError: It is absent or damaged.
        Unavailable: The bucket does not answer.
    """
    try:
        data = store.read(name)
    except Unavailable:
        raise
    except StorageError as error:
        raise DatasetError(f"{store.uri}: has no {name}: {error}") from None
    with readable(f"{store.uri}/{name}", "is damaged"):
        table = pq.read_table(io.BytesIO(data), columns=columns)
        require_plain(table.schema, f"{store.uri}/{name}")
        table.validate(full=True)
        return table


def write_plan(store: Store, rows: Iterable[Mapping[str, Any]], rows_per_file: int = PLAN_ROWS) -> int:
    """Write the plan in files of bounded size; returns the number of clips. Rows are held one file at a time.

    The first file comes last, and without it there is no plan: a planner that is killed half-way leaves none.
    """
    left = iter(rows)
    first = _plan_part(left, rows_per_file)
    num_clips, names = int(first.num_rows), [_plan_file(0)]
    while (part := _plan_part(left, rows_per_file)).num_rows:
        names.append(_plan_file(len(names)))
        store.replace(names[-1], parquet_bytes(part))
        num_clips += part.num_rows
    for entry in list(store.list(PLAN_FOLDER)):
        if entry.name not in names:
            store.delete(entry.name)  # of a planner that was killed when there were more clips
    store.replace(names[0], parquet_bytes(first))
    return num_clips


def _plan_part(rows: Iterator[Mapping[str, Any]], num_rows: int) -> pa.Table:
    return rows_to_table(islice(rows, num_rows), schema.PLAN)


def _plan_file(number: int) -> str:
    return f"{PLAN_FOLDER}{number:05d}.parquet"


def plan_files(store: Store) -> list[str]:
    """Names of the plan's files, in order; empty while it is not whole."""
    names = [entry.name for entry in store.list(PLAN_FOLDER) if entry.name.endswith(".parquet")]
    return names if names[:1] == [_plan_file(0)] else []


def read_matches(store: Store) -> dict[str, Any]:
    """What a keyword plan found; empty where the plan is of another kind."""
    if not any(entry.name == MATCHES for entry in store.list(MATCHES)):
        return {}
    try:
        return dict(json.loads(store.read(MATCHES)))
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{store.uri}/{MATCHES}: is damaged: {error}; delete it") from None


def read_plan(store: Store, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The plan, one file at a time."""
    for name in plan_files(store):
        yield read_parquet(store, name, columns)


def planned_ids(store: Store) -> np.ndarray:
    """Ids of the planned clips, in the order of the plan."""
    return ids.gathered(ids.from_column(part.column("clip_id")) for part in read_plan(store, ["clip_id"]))


def committed(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the clips that are made and of those that failed and were not made since, as sorted S32 arrays."""
    buffers = bytearray(), bytearray()
    for record in read_commits(store):
        for buffer, rows in zip(buffers, (record["samples"], record["failures"]), strict=True):
            buffer += ids.from_texts([row["clip_id"] for row in rows]).tobytes()
    made, failed = (ids.distinct(np.frombuffer(buffer, ids.ID)) for buffer in buffers)
    return made, failed[~ids.are_among(failed, made)]


def committed_models(store: Store) -> dict[str, Any]:
    """Facts of the models that made the clips, as the first commit record has them; empty before there is one."""
    return dict((first_commit(store) or {}).get("models", {}))


class Built(NamedTuple):
    """Index and failures as local files, and what they were made from."""

    merged: Merged
    files: list[dict[str, Any]]
    """Every commit record and every file that one names: name and digest, as the completion record has them."""
    effort: Effort
    """What the records tell of the work."""

    def open(self) -> Tables:
        """Both tables; they can be read after their files are moved or deleted."""
        return Tables(TableFile(self.merged.index_path), TableFile(self.merged.failures_path))


def build(store: Store, folder: Path, part_rows: int = PART_ROWS) -> Built:
    """Index and failures from the commit records: every clip that was tried is in exactly one of the two.

    Args:
        store: The dataset; its plan gives the order, and each of its commit records is read once.
        folder: An empty local folder for the tables, and for as much again while they are made.
        part_rows: Clips whose rows are in memory together.

    Raises:
        DatasetError: A commit record is damaged, or names a clip that is not in the plan.
        StorageError: The folder cannot be written.
    """
    files, effort = list[dict[str, Any]](), Effort()
    with translated(folder):
        merge = Merge(ids.Lookup(planned_ids(store)), folder, part_rows)
        for name, data in commit_files(store):
            record = parse(f"{store.uri}/{name}", data)
            merge.add(record)
            if record["samples"] or record["failures"]:  # not of a shard that was closed or emptied
                effort.add(record)
            files += [*record["files"], {"name": name, **sum_up([data])._asdict()}]
        return Built(merge.write(), files, effort)


def open_tables(store: Store, record: Mapping[str, Any]) -> Tables:
    """Index and failures of a finished dataset, where its completion record has them.

    Raises:
        DatasetError: One is absent or damaged.
    """
    return Tables(_open_table(store, place_of(record, INDEX)), _open_table(store, place_of(record, FAILURES)))


def _open_table(store: Store, name: str) -> TableFile:
    try:
        return TableFile(store.fetch(name), f"{store.uri}/{name}")
    except NoSpace:
        raise  # says nothing of the table
    except StorageError as error:
        raise DatasetError(f"{store.uri}: has no {name}: {error}") from None


def unfinished_tables(store: Store) -> Tables:
    """Index and failures of what is committed so far."""
    folder = Path(tempfile.mkdtemp(prefix="mien-"))
    try:
        return build(store, folder).open()
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # an open file can be read on


def checksums_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Column -> SHA-256 of one row of the index."""
    return dict(json.loads(row["checksums"]))
