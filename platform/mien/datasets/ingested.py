"""What was ingested: one write-once record per item, what of it still stands, and the report made of both.

A record's name tells what it is about, so that one listing of the records and one of the output say what is left to
do: `<key>-<mark>.json`. The key names the wanted item; the mark is name, size and generation of the file that it
became, as it stood when its sum was proved. A file that was changed or deleted since has another mark, and its item is
done again. Of an archive the record itself names the files. Failures are kept apart, and are tried again by every run.
"""

import contextlib
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mien import schema
from mien.datasets import ids
from mien.datasets.links import REPORTS, Item, Links
from mien.datasets.tables import ROW_GROUP_ROWS, rows_to_table, table_schema, table_writer
from mien.errors import AlreadyExists, DatasetError
from mien.storage.ahead import ahead
from mien.storage.commit import Digest
from mien.storage.uri import Entry, Store

RECORDS, FAILED = f"{REPORTS}.records/", f"{REPORTS}.failed/"
"""Hidden from listings of the output: a source of videos is not full of records."""
REPORT, TABLE = f"{REPORTS}report.json", f"{REPORTS}report.parquet"
DONE, MISSING, OPEN = "done", "failed", "open"
_ARCHIVE = "archive"
_MAX_FAILURES = 20
_BATCH_ITEMS = 1024

_Thing = TypeVar("_Thing")


class File(NamedTuple):
    """One file below the output, as it stood when its content was proved."""

    name: str
    size_bytes: int
    generation: int
    sha256: str
    crc32c: str

    @classmethod
    def of(cls, entry: Entry, digest: Digest) -> "File":
        """An entry of the store, and what is in it."""
        return cls(entry.name, entry.size_bytes, entry.generation, digest.sha256, digest.crc32c)

    @property
    def digest(self) -> Digest:
        """Its content."""
        return Digest(self.size_bytes, self.crc32c, self.sha256)


def mark(entry: Entry | File) -> str:
    """Name, size and generation in one: 32 hexadecimal digits, which differ once a file may have changed."""
    text = json.dumps([entry.name, entry.size_bytes, entry.generation])
    return hashlib.sha256(text.encode()).hexdigest()[: schema.CLIP_ID_CHARS]


def _prefix(item: Item) -> str:
    """What the names of an item's records begin with; in folders, since a folder is listed whole to find one name."""
    return f"{RECORDS}{item.key[:3]}/{item.key}-"


def write_record(store: Store, item: Item, files: Iterable[File], facts: Mapping[str, Any]) -> None:
    """Say that an item is done: `files` are published and proved. Older records of the item go.

    Raises:
        StorageError: The store refuses; the item is then done again, and finds its files in place.
    """
    listed = [file._asdict() for file in files]
    name = f"{_prefix(item)}{_ARCHIVE if item.unzip else mark(File(**listed[0]))}.json"
    text = json.dumps({**facts, "files": listed}).encode()
    if item.unzip:  # its name does not tell which files are meant
        store.replace(name, text)
    else:
        with contextlib.suppress(AlreadyExists):  # by another attempt, which found the same file
            store.put_new(name, text)
    for entry in list(store.list(_prefix(item))):
        if entry.name != name:
            store.delete(entry.name)


def write_failure(store: Store, item: Item, facts: Mapping[str, Any]) -> None:
    """Say why an item is not done; a later run tries it again."""
    store.replace(f"{FAILED}{item.key}.json", json.dumps(dict(facts)).encode())


def recorded(store: Store, item: Item) -> list[File]:
    """The files that an item became, by its last record, whether or not they still stand; none without a record."""
    names = [entry.name for entry in store.list(_prefix(item))]
    return [File(**file) for name in names[:1] for file in _read(store, name)["files"]]


class Standing:
    """Which items are done: 64 bytes per record and 32 per file of the output."""

    def __init__(self, store: Store) -> None:
        """Two listings; records of archives are read.

        Raises:
            DatasetError: A record is damaged.
        """
        records = [entry.name.rpartition("/")[2] for entry in store.list(RECORDS)]
        there = np.empty(0, ids.ID)
        if records:
            entries = (mark(entry) for entry in store.list() if not entry.name.startswith(REPORTS))
            there = ids.distinct(ids.gathered(ids.from_texts(part) for part in _parts(entries)).copy())
        singles = [name for name in records if not name.endswith(f"-{_ARCHIVE}.json")]
        marks = ids.from_texts([name[33:65] for name in singles])
        stand = ids.are_among(marks, there)
        done = [name for name, is_there in zip(singles, stand, strict=True) if is_there]
        archives = (name for name in records if name.endswith(f"-{_ARCHIVE}.json"))
        done += [
            name for name, files in ahead(lambda name: (name, _files(store, name)), archives) if _are(files, there)
        ]
        self._keys = ids.from_texts([name[:32] for name in sorted(done)])
        self._marks = ids.from_texts([name[33:65].removesuffix(".json") for name in sorted(done)])

    def __len__(self) -> int:
        """Number of items that are done, of this list or of others."""
        return len(self._keys)

    def left(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items that are not done, in their order."""
        for part in _parts(items):
            is_done = ids.are_among(ids.from_texts([item.key for item in part]), self._keys)
            yield from (item for item, done in zip(part, is_done, strict=True) if not done)

    def record_name(self, item: Item) -> str | None:
        """The record that says that an item is done; None if none does."""
        key = np.bytes_(item.key.encode())
        at = int(np.searchsorted(self._keys, key))
        if at == len(self._keys) or self._keys[at] != key:
            return None
        return f"{_prefix(item)}{self._marks[at].decode()}.json"


def _parts(things: Iterable[_Thing]) -> Iterator[list[_Thing]]:
    left = iter(things)
    while part := list(islice(left, _BATCH_ITEMS)):
        yield part


def _files(store: Store, name: str) -> list[File]:
    return [File(**file) for file in _read(store, f"{RECORDS}{name[:3]}/{name}")["files"]]


def _are(files: list[File], there: np.ndarray) -> bool:
    return bool(ids.are_among(ids.from_texts([mark(file) for file in files]), there).all())


def _read(store: Store, name: str) -> dict[str, Any]:
    try:
        record = dict(json.loads(store.read(name)))
        if name.startswith(RECORDS):
            [File(**file) for file in record["files"]]
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError(f"{store.uri}/{name}: is damaged ({error}); remove it, and its item is done again") from None
    return record


class Report(NamedTuple):
    """What came of a list."""

    path: str
    source: str
    fingerprint: str
    """Of the list: SHA-256 of what is wanted of every item."""
    num_items: int
    num_done: int
    num_failed: int
    num_open: int
    num_files: int
    size_bytes: int
    received_bytes: int
    failures: list[dict[str, Any]]
    """The first few: number, name, url without query, error."""
    report: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json` and report.json."""
        return self._asdict()

    def summary(self) -> dict[str, Any]:
        """What a person wants to read of it."""
        return {key: value for key, value in self._asdict().items() if key not in {"failures", "path", "fingerprint"}}


def write_report(store: Store, links: Links, fingerprint: str) -> Report:
    """Write report.parquet with a row per item and report.json with the sums; rows are held one group at a time.

    Raises:
        StorageError: The store refuses.
        DatasetError: A record is damaged.
    """
    standing = Standing(store)
    failed = _failed(store)
    count, failures = Counter[str](), list[dict[str, Any]]()
    rows = ahead(lambda item: _row(store, item, standing, failed), links.items())
    with tempfile.TemporaryDirectory(prefix="mien-report-") as folder:
        path = Path(folder) / "report.parquet"
        with table_writer(path, table_schema(schema.INGESTED)) as writer:
            while part := list(islice(rows, ROW_GROUP_ROWS)):
                writer.write_table(rows_to_table(part, schema.INGESTED), ROW_GROUP_ROWS)
                for row in part:
                    _count(row, count, failures)
        store.replace_file(path, TABLE)
    report = _report(store, (links.place, fingerprint), count, failures)
    store.replace(REPORT, json.dumps(report.to_json(), indent=1).encode())
    return report


def _failed(store: Store) -> np.ndarray:
    """Keys of the items that failed, in this run or an earlier one; sorted."""
    keys = (entry.name.removeprefix(FAILED)[: schema.CLIP_ID_CHARS] for entry in store.list(FAILED))
    return ids.distinct(ids.gathered(map(ids.from_texts, _parts(keys))).copy())


def read_report(store: Store) -> Report | None:
    """The report of the last run; None if there is none, or it is none of ours."""
    if not any(entry.name == REPORT for entry in store.list(REPORT)):
        return None
    try:
        return Report(**json.loads(store.read(REPORT)))
    except (ValueError, TypeError):
        return None


def _count(row: Mapping[str, Any], count: Counter[str], failures: list[dict[str, Any]]) -> None:
    count["items"] += 1
    count[row["status"]] += 1
    count.update({key: row[key] for key in ("num_files", "size_bytes", "received_bytes")})
    if row["error"] and len(failures) < _MAX_FAILURES:
        failures.append({key: row[key] for key in ("number", "name", "url", "error_type", "error")})


def _report(store: Store, about: tuple[str, str], count: Counter[str], failures: list[dict[str, Any]]) -> Report:
    states = (count["items"], count[DONE], count[MISSING], count[OPEN])
    sizes = (count["num_files"], count["size_bytes"], count["received_bytes"])
    return Report(store.uri, *about, *states, *sizes, failures, f"{store.uri}/{TABLE}")


def _row(store: Store, item: Item, standing: Standing, failed: np.ndarray) -> dict[str, Any]:
    """The row of one item: by its record, else by its failure, else open."""
    facts = dict.fromkeys(schema.names(schema.INGESTED), 0) | {
        "sha256": "",
        "crc32c": "",
        "error_type": "",
        "error": "",
    }
    name, status = standing.record_name(item), DONE
    if name is None:
        name = f"{FAILED}{item.key}.json"
        status = MISSING if ids.are_among(ids.from_texts([item.key]), failed)[0] else OPEN
    record = _read(store, name) if status != OPEN else {}
    files = record.get("files", [])
    sizes = {"num_files": len(files), "size_bytes": sum(file["size_bytes"] for file in files)}
    known = {key: value for key, value in record.items() if key in facts}
    about = {"number": item.number, "name": item.name, "url": item.shown, "target": item.target, "status": status}
    return {**facts, **known, **sizes, **about}
