"""A committed shard again without some of its rows: what stays is copied as it is and proved before it counts.

HDF5 and Parquet keep the bytes of what is deleted in place, so the rest goes into a new file under a new name.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from mien.datasets.formats import format_like, open_shard
from mien.datasets.frames import Values, checksum, to_table
from mien.datasets.index import checksums_of
from mien.datasets.publish import DATA
from mien.datasets.shard import ShardReader
from mien.errors import DatasetError
from mien.storage.commit import FOLDER, commit, digest, new_write_id
from mien.storage.local import translated
from mien.storage.uri import Store

Row = Mapping[str, Any]
"""A sample or failure of a commit record."""

_KEPT = ("models", "run_id", "started_at", "finished_at", "effort")
"""What a new record takes over besides rows: nothing that could tell of what was left out."""


def rebuild(store: Store, record: Row, shard: str, keep: Callable[[Row], bool], options: Row) -> None:
    """Commit the rows that are kept as another shard; nothing is done where it stands already, or nothing is kept.

    Args:
        store: The dataset.
        record: Commit record of the shard as it is; record and file stay.
        shard: Name of the new record. Of two runs that use the same one, the first counts.
        keep: Whether a sample or failure stays.
        options: The `format` of the dataset's config.

    Raises:
        DatasetError: A sample to keep does not have its SHA-256.
        StorageError: The store refused; the same command resumes.
    """
    samples, failures = ([row for row in record[kind] if keep(row)] for kind in ("samples", "failures"))
    if not (samples or failures) or any(True for _ in store.list(f"{FOLDER}{shard}.json")):
        return
    write_id = new_write_id()
    files: list[dict[str, Any]] = []
    if samples:
        samples, files = _publish(store, samples, f"{DATA}{shard}-{write_id}", options)
    facts = {key: record[key] for key in _KEPT if key in record}
    if not commit(store, shard, write_id, {"files": files, "samples": samples, "failures": failures, **facts}):
        for file in files:
            store.delete(file["name"])


def empty(store: Store, record: Row) -> None:
    """Leave a record without files and rows: its name stays taken, so that a writer that was held up comes too late."""
    facts = {key: record[key] for key in ("shard", *_KEPT) if key in record}
    rest = {"write_id": new_write_id(), "files": [], "samples": [], "failures": [], **facts}
    store.replace(f"{FOLDER}{record['shard']}.json", json.dumps(rest).encode())


def _publish(
    store: Store, samples: Sequence[Row], stem: str, options: Row
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Copy samples into one new data file; returns them with their new place, and the file with its sums."""
    name = stem + PurePosixPath(samples[0]["file"]).suffix
    scratch = store.scratch()
    try:
        draft = scratch / PurePosixPath(name).name
        with translated(f"{store.uri}/{name}"):
            moved = _copy(store, samples, draft, options)
        prove(draft, moved)
        store.publish(draft, name)
        sounds = _move_sounds(store, moved, stem)
        return moved, [{"name": name, **digest(draft)._asdict()}, *sounds]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move_sounds(store: Store, samples: Sequence[dict[str, Any]], stem: str) -> list[dict[str, Any]]:
    """Copy the sound files of samples to the names of their new shard, and tell the samples; each with its sums."""
    files = dict[str, dict[str, Any]]()
    for row in samples:
        old = row.get("audio_file")
        if not old:
            continue
        row["audio_file"] = f"{stem}-{row['clip_id']}{PurePosixPath(old).suffix}"
        if row["audio_file"] not in files:
            files[row["audio_file"]] = _copy_sound(store, old, row)
    return list(files.values())


def _copy_sound(store: Store, old: str, row: Row) -> dict[str, Any]:
    path = store.fetch(old)
    sums = digest(path)
    if sums.sha256 != row["audio_sha256"]:
        raise DatasetError(
            f"{store.uri}/{old}: is damaged (SHA-256 differs), so it cannot be copied; restore the file and run the "
            "same command, it resumes"
        )
    store.put_new(row["audio_file"], path.read_bytes())
    return {"name": row["audio_file"], **sums._asdict()}


def _copy(store: Store, samples: Sequence[Row], draft: Path, options: Row) -> list[dict[str, Any]]:
    """Write the samples in their order; one sample is in memory at a time."""
    with open_shard(store.fetch(samples[0]["file"])) as shard:
        writer = format_like(draft.suffix, options).writer(draft, shard.metadata())
    moved = list[dict[str, Any]]()
    try:
        for file, rows in groupby(samples, key=lambda row: str(row["file"])):
            with open_shard(store.fetch(file)) as shard:
                for row in rows:
                    start, stop = writer.add(_frames(shard, row, store.uri))
                    moved.append({**row, "file": f"{DATA}{draft.name}", "row_start": start, "row_stop": stop})
    except DatasetError:
        writer.close()
        raise
    writer.close(moved)
    return moved


def _frames(shard: ShardReader, row: Row, place: str) -> pa.Table:
    columns = dict(_columns(shard, row))
    for name, sha256 in checksums_of(row).items():
        if name not in columns or checksum(columns[name]) != sha256:
            raise DatasetError(
                f"{place}/{row['file']}: column {name} of clip {row['clip_id']} is damaged (SHA-256 differs), so it "
                "cannot be copied; restore the file and run the same command, it resumes"
            )
    return to_table(columns)


def _columns(shard: ShardReader, row: Row) -> Iterator[tuple[str, Values]]:
    return ((name, shard.read(name, row["row_start"], row["row_stop"])) for name in shard.columns)


def prove(draft: Path, samples: Sequence[Row]) -> None:
    """Hold what a reader gets from a new file against what was recorded when the clips were made: every value.

    Raises:
        DatasetError: It is not the same.
    """
    with open_shard(draft) as shard:
        if shard.num_rows != sum(row["num_frames"] for row in samples):
            raise DatasetError(f"{draft}: holds {shard.num_rows} rows after writing; disk or memory is faulty")
        for row in samples:
            found = {name: checksum(values) for name, values in _columns(shard, row)}
            if found != checksums_of(row):
                raise DatasetError(f"{draft}: clip {row['clip_id']} reads back differently; disk or memory is faulty")
