"""Proof that a dataset is whole: every file, every row count, every value, every planned clip exactly once."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mien.datasets import index
from mien.datasets.dataset import COMPLETE
from mien.datasets.frames import checksum
from mien.errors import DatasetError, StorageError
from mien.storage.commit import digest
from mien.storage.uri import Store, open_store

if TYPE_CHECKING:
    from mien.datasets.dataset import Dataset


def verify(dataset: "Dataset") -> dict[str, Any]:
    """Check everything and list what is wrong; nothing is changed.

    Returns:
        `problems`: one line each, empty for a whole dataset; `foreign`: files that the dataset does not name;
        `num_files`, `num_samples`, `num_columns`: what was compared.
    """
    store = open_store(dataset.uri)
    problems = [*_files(store, dataset), *_clips(store, dataset)]
    num_columns = 0
    for sample in dataset:
        expected = index.checksums_of(sample.row)
        num_columns += len(expected)
        problems += _values(sample, expected)
    return {
        "path": dataset.uri,
        "ok": not problems,
        "problems": problems,
        "foreign": _foreign(store, dataset),
        "num_files": len(dataset.record.get("files", [])),
        "num_samples": len(dataset),
        "num_columns": num_columns,
    }


def _files(store: Store, dataset: "Dataset") -> Iterator[str]:
    """Every file of the completion record must be there with its size and sums."""
    for file in dataset.record.get("files", []):
        try:
            found = digest(store.fetch(file["name"]))
        except (StorageError, OSError) as error:
            yield f"{file['name']}: {error}"
            continue
        if found.size_bytes != file["size_bytes"]:
            yield f"{file['name']}: has {found.size_bytes} bytes, was written with {file['size_bytes']}"
        elif found.crc32c != file["crc32c"] or found.sha256 != file["sha256"]:
            yield f"{file['name']}: is damaged (checksum differs)"


def _clips(store: Store, dataset: "Dataset") -> Iterator[str]:
    """Every planned clip must be named once, by the index or by the failures, and nothing else."""
    planned = Counter[str]()
    for table in index.read_plan(store, ["clip_id"]):
        planned.update(table.column("clip_id").to_pylist())
    made, failed = set(dataset.clip_ids), Counter(dataset.failures.column("clip_id").to_pylist())
    yield from (f"clip {clip_id}: planned {count} times" for clip_id, count in planned.items() if count > 1)
    yield from (
        f"clip {clip_id}: is planned, but neither made nor failed" for clip_id in planned.keys() - made - failed.keys()
    )
    yield from (f"clip {clip_id}: is both made and failed" for clip_id in made & failed.keys())
    yield from (f"clip {clip_id}: was not planned" for clip_id in (made | failed.keys()) - planned.keys())
    tracks = Counter(zip(dataset.index["clip_id"].to_pylist(), dataset.index["track"].to_pylist(), strict=True))
    yield from (
        f"clip {clip_id}: track {track} is named twice" for (clip_id, track), count in tracks.items() if count > 1
    )


def _values(sample: Any, expected: dict[str, str]) -> Iterator[str]:
    where = f"{sample.row['file']}: clip {sample.clip_id} track {sample.track}"
    if sample.row["row_stop"] - sample.row["row_start"] != sample.row["num_frames"]:
        yield f"{where}: row range and number of frames differ"
    for column, sha256 in expected.items():
        try:
            values = sample.read_unchecked(column)
        except (DatasetError, KeyError) as error:
            yield f"{where}: {error}"
            continue
        if len(values) != sample.row["num_frames"]:
            yield f"{where}: column {column} has {len(values)} rows, not {sample.row['num_frames']}"
        elif checksum(values) != sha256:
            yield f"{where}: column {column} is damaged (SHA-256 differs)"


def _foreign(store: Store, dataset: "Dataset") -> list[str]:
    known = {file["name"] for file in dataset.record.get("files", [])} | {COMPLETE}
    return [entry.name for entry in store.list() if entry.name not in known] if dataset.record else []
