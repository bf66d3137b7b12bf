"""The tables beside the shards: plan, index and failures, and how commit records become the last two.

The index is the truth: for every clip it names the rows of one committed shard. Where several committed shards hold a
clip (a worker that was thought dead, a rerun), the first record by name that made it counts; success beats failure.
"""

import base64
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mien import schema
from mien.datasets.frames import arrow_type
from mien.errors import DatasetError, StorageError
from mien.storage.commit import read_commits
from mien.storage.uri import Store

PLAN_FOLDER = "plan/"
INDEX = "index.parquet"
FAILURES = "failures.parquet"
_ROWS_PER_PLAN_FILE = 65_536


def table_schema(columns: Sequence[schema.Column]) -> pa.Schema:
    """Arrow schema of a table whose columns are scalars, texts or byte strings."""
    return pa.schema([(column.name, arrow_type(column, ())) for column in columns])


def rows_to_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[schema.Column]) -> pa.Table:
    """A table of the given columns from plain rows."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=table_schema(columns))


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as one small Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_parquet(store: Store, name: str) -> pa.Table:
    """One small Parquet table of a dataset.

    Raises:
        DatasetError: It is absent or damaged.
    """
    try:
        return pq.read_table(io.BytesIO(store.read(name)))
    except StorageError as error:
        raise DatasetError(f"{store.uri}: has no {name}: {error}") from None
    except pa.ArrowException as error:
        raise DatasetError(f"{store.uri}/{name}: is damaged: {error}") from None


def write_plan(store: Store, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write the plan in files of bounded size; returns the number of clips. Rows are held one file at a time."""
    num_clips, number, part = 0, 0, list[Mapping[str, Any]]()
    for row in rows:
        part.append(row)
        if len(part) == _ROWS_PER_PLAN_FILE:
            _write_plan_file(store, number, part)
            num_clips, number, part = num_clips + len(part), number + 1, []
    if part or not number:
        _write_plan_file(store, number, part)
    return num_clips + len(part)


def _write_plan_file(store: Store, number: int, rows: Sequence[Mapping[str, Any]]) -> None:
    store.replace(f"{PLAN_FOLDER}{number:05d}.parquet", parquet_bytes(rows_to_table(rows, schema.PLAN)))


def plan_files(store: Store) -> list[str]:
    """Names of the plan's files, in order."""
    return [entry.name for entry in store.list(PLAN_FOLDER) if entry.name.endswith(".parquet")]


def read_plan(store: Store, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The plan, one file at a time."""
    for name in plan_files(store):
        table = read_parquet(store, name)
        yield table.select(columns) if columns else table


def committed(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the clips that are made and of those that failed and were not made since, as sorted S32 arrays."""
    made, failed = set[bytes](), set[bytes]()
    for record in read_commits(store):
        made.update(sample["clip_id"].encode() for sample in record["samples"])
        failed.update(failure["clip_id"].encode() for failure in record["failures"])
    return _sorted_ids(made), _sorted_ids(failed - made)


def committed_models(store: Store) -> dict[str, Any]:
    """Facts of the models that made the clips, as the first commit record has them; empty before there is one."""
    return dict(next(read_commits(store), {}).get("models", {}))


def _sorted_ids(ids: set[bytes]) -> np.ndarray:
    return np.array(sorted(ids), f"S{schema.CLIP_ID_CHARS}")


def merge_ids(*parts: np.ndarray) -> np.ndarray:
    """Sorted ids of all parts."""
    return np.unique(np.concatenate(parts))


def build(store: Store) -> tuple[pa.Table, pa.Table]:
    """Index and failures from the commit records: every clip that was tried is in exactly one of the two."""
    winner = dict[str, str]()
    samples, failures, attempts = list[dict[str, Any]](), dict[str, dict[str, Any]](), Counter[str]()
    for record in read_commits(store):
        for sample in record["samples"]:
            if winner.setdefault(sample["clip_id"], record["write_id"]) == record["write_id"]:
                samples.append(sample)
        for failure in record["failures"]:
            attempts[failure["clip_id"]] += 1
            failures[failure["clip_id"]] = failure
    lost = [_failure_row(failures[clip_id], attempts[clip_id]) for clip_id in failures.keys() - winner.keys()]
    samples.sort(key=_order)
    lost.sort(key=_order)
    return rows_to_table(samples, schema.INDEX), rows_to_table(lost, schema.FAILURES)


def _order(row: Mapping[str, Any]) -> tuple[str, float, str, int]:
    """Tables are in the order of the sources, whatever the order in which clips were finished."""
    return row["source_uri"], row["start_s"], row["clip_id"], row.get("track", 0)


def _failure_row(failure: Mapping[str, Any], attempts: int) -> dict[str, Any]:
    """A commit record is JSON, so it carries the thumbnail in base64."""
    return {**failure, "thumb": base64.b64decode(failure["thumb"]), "attempts": attempts}


def read_tables(store: Store) -> tuple[pa.Table, pa.Table]:
    """Index and failures of a finished dataset."""
    return read_parquet(store, INDEX), read_parquet(store, FAILURES)


def checksums_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Column -> SHA-256 of one row of the index."""
    return dict(json.loads(row["checksums"]))
