"""Proof that a dataset is whole: every file, every row count, every value, every planned clip exactly once."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mien.datasets import audit, ids, index
from mien.datasets.dataset import COMPLETE
from mien.datasets.frames import checksum
from mien.datasets.publish import JOURNAL, NOTES
from mien.datasets.staging import TABLES
from mien.errors import DatasetError, StorageError
from mien.storage.ahead import ahead
from mien.storage.commit import FOLDER as COMMITS
from mien.storage.commit import Digest, digest, sum_up
from mien.storage.lease import is_lease
from mien.storage.uri import Store, open_store

if TYPE_CHECKING:
    from mien.datasets.dataset import Dataset
    from mien.datasets.tables import TableFile


def verify(dataset: "Dataset") -> dict[str, Any]:
    """Check everything and list what is wrong; nothing is changed.

    Returns:
        `problems`: one line each, empty for a whole dataset; `foreign`: files that the dataset does not name;
        `num_files`, `num_samples`, `num_columns`: what was compared.
    """
    store = open_store(dataset.uri)
    problems = [*_interrupted(store, dataset), *_files(store, dataset), *_clips(store, dataset), *audit.problems(store)]
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


def _interrupted(store: Store, dataset: "Dataset") -> Iterator[str]:
    """What is whole for a reader, but not as it should stay."""
    if any(True for _ in store.list(JOURNAL)):
        yield f"{JOURNAL}: an erasure was interrupted; run the same `mien forget` again"
    elif TABLES in dataset.record:
        yield f"{COMPLETE}: publishing was interrupted; run the same command again"


def _files(store: Store, dataset: "Dataset") -> Iterator[str]:
    """Every file of the completion record must be there with its size and sums; commit records are read together."""
    files = dataset.record.get("files", [])
    small = [file for file in files if file["name"].startswith(COMMITS)]
    large = (file for file in files if not file["name"].startswith(COMMITS))
    yield from filter(None, ahead(lambda file: _file(file, lambda name: sum_up([store.read(name)])), small))
    yield from filter(None, (_file(file, lambda name: digest(store.fetch(name))) for file in large))


def _file(file: Mapping[str, Any], found_of: Callable[[str], Digest]) -> str:
    """What is wrong with a file, given what sums up the one of that name; empty if nothing is."""
    try:
        found = found_of(file["name"])
    except (StorageError, OSError) as error:
        return f"{file['name']}: {error}"
    if found.size_bytes != file["size_bytes"]:
        return f"{file['name']}: has {found.size_bytes} bytes, was written with {file['size_bytes']}"
    if found.crc32c != file["crc32c"] or found.sha256 != file["sha256"]:
        return f"{file['name']}: is damaged (checksum differs)"
    return ""


def _clips(store: Store, dataset: "Dataset") -> Iterator[str]:
    """Every planned clip must be named once, by the index or by the failures, and nothing else."""
    planned = ids.Lookup(index.planned_ids(store))
    first = planned.first(planned.ids)
    yield from _told(planned.ids[first != np.arange(len(first))], "is planned twice")
    made = _named(planned, dataset.index_file)
    failed = _named(planned, dataset.failure_file)
    yield from _told(np.concatenate([made.strangers, failed.strangers]), "was not planned")
    is_made, is_failed = made.counts[first] > 0, failed.counts[first] > 0
    yield from _told(planned.ids[~is_made & ~is_failed], "is planned, but neither made nor failed")
    yield from _told(planned.ids[is_made & is_failed], "is both made and failed")
    yield from _told(planned.ids[failed.counts > 1], "is named twice by the failures")
    yield from _samples(planned.ids, made.places, dataset.index_file)


class Named(NamedTuple):
    """The clips that a table names."""

    places: np.ndarray
    """Place of each row's clip in the plan: int64 [num_rows], NOWHERE for strangers."""
    counts: np.ndarray
    """Rows of each planned clip: int64 [num_planned]."""
    strangers: np.ndarray
    """Ids that the plan does not have."""


def _named(planned: ids.Lookup, table: "TableFile") -> Named:
    named = ids.from_column(table.column("clip_id"))
    places = planned.first(named)
    is_known = places != ids.NOWHERE
    return Named(places, np.bincount(places[is_known], minlength=len(planned)), named[~is_known])


def _samples(planned: np.ndarray, places: np.ndarray, table: "TableFile") -> Iterator[str]:
    """A clip has its tracks once, and all of them in one shard."""
    tracks = table.column("track").to_numpy()
    files = table.column("file").combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.lexsort((tracks, places))
    order = order[places[order] != ids.NOWHERE]
    places, tracks, files = places[order], tracks[order], files[order]
    is_same = places[1:] == places[:-1]
    yield from _told(planned[places[1:][is_same & (tracks[1:] == tracks[:-1])]], "has a track that is named twice")
    yield from _told(planned[places[1:][is_same & (files[1:] != files[:-1])]], "is named in two shards")


def _told(clip_ids: np.ndarray, what: str) -> Iterator[str]:
    """One line for all clips with the same problem, since there may be a million: the first, and how many more."""
    if len(clip_ids):
        more = f" (and {len(clip_ids) - 1} more)" if len(clip_ids) > 1 else ""
        yield f"clip {clip_ids[0].decode()}{more}: {what}"


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
    found = (entry.name for entry in store.list() if dataset.record)
    return [name for name in found if name not in known and not is_lease(name) and not name.startswith(NOTES)]
