"""Lists of what to ingest: inline, or CSV, JSONL, Parquet or plain text with one address per row, read as a stream.

Columns: url, and if wanted name, path or remote_path, unzip, size_bytes, sha256, md5, crc32c. A row that cannot be used
is told by its number before anything starts. No message holds the query of an address.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mien.config import Config
from mien.datasets import ids
from mien.datasets.shard import readable, require_plain
from mien.errors import ConfigError, DatasetError, PreflightError, StorageError
from mien.log import printable, redacted
from mien.storage import origins
from mien.storage.local import translated
from mien.storage.sums import Sums
from mien.storage.unpack import ENDINGS
from mien.storage.uri import canonical, fault_of_name, is_bucket, open_store

REPORTS = "ingest/"
"""Folder below the output for records and reports; no item may be put there."""

_COLUMNS = ("url", "name", "path", "remote_path", "unzip", "size_bytes", "sha256", "md5", "crc32c")
_MAX_LINE_CHARS = 100_000
_MAX_PROBLEMS = 5
_BATCH_ROWS = 1024
_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": None}


class LinkConfig(Config):
    """One item of an inline list."""

    url: str
    """http://, https://, gs://, file:// or a local path."""

    name: str = ""
    """What people call it; the last part of the address by default."""

    path: str = ""
    """Place below the output, with the file's name; ending in a slash, the folder for it. By default the name of the
    file in the address; for an archive that is unpacked, the folder for its files, by default the output itself."""

    remote_path: str = ""
    """Folder below the output; another way to say `path`, in which the name of the file is always kept."""

    unzip: bool | None = None
    """Whether it is an archive to unpack; by default as `unzip` says for all."""

    size_bytes: int | None = None
    """Promised size."""

    sha256: str = ""
    """Promised SHA-256."""

    md5: str = ""
    """Promised MD5."""

    crc32c: str = ""
    """Promised CRC32C."""


class Item(NamedTuple):
    """One thing to ingest."""

    number: int
    """Row of the list, 1 first; line of a text file."""
    name: str
    url: str
    """With what signs it: never shown."""
    target: str
    """Name of the file below the output; of an archive that is unpacked, of its folder, empty for the output."""
    unzip: bool
    sums: Sums

    @property
    def key(self) -> str:
        """Names what is wanted: the same for a new link to the same file. 32 hexadecimal digits."""
        wanted = [self.target, origins.unsigned(self.url), self.unzip, *self.sums]
        return hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:32]

    @property
    def shown(self) -> str:
        """The address as it may be shown."""
        return printable(redacted(self.url))


class Checked(NamedTuple):
    """A list that can be used."""

    num_items: int
    fingerprint: str
    """SHA-256 of what is wanted of every item, in order."""


class Links:
    """A list that is read again from its start for every walk, so that memory does not grow with it."""

    def __init__(self, source: str, datasets: Iterable[LinkConfig], unzip: bool | None) -> None:
        """The list at `source`, or the inline one.

        Raises:
            ConfigError: Both or none are given, or the ending is of no list.
            PreflightError: The list cannot be read.
        """
        inline = [link.model_dump() for link in datasets]
        if bool(source) == bool(inline):
            raise ConfigError(
                "source: give a list as source=LIST (.csv .jsonl .parquet .txt), or datasets in the config"
            )
        self.place = canonical(source) if source else "datasets"
        self._unzip = unzip
        self._folder = Path.cwd() if inline or is_bucket(self.place) else Path(self.place).parent
        self._rows: Callable[[], Iterator[tuple[int, Mapping[str, Any]]]]
        if inline:
            self._rows = lambda: iter(enumerate(inline, 1))
        else:
            self._rows = _reader(self.place)

    def items(self) -> Iterator[Item]:
        """Every item, in order.

        Raises:
            ConfigError: A row cannot be used; the message names it.
        """
        for number, row in self._rows():
            yield self._item(number, row)

    def check(self) -> Checked:
        """Walk the whole list once.

        Raises:
            ConfigError: Rows cannot be used, two have one target, or there is none; one line for each, the first few.
        """
        problems, claims, keys, num_items = list[str](), bytearray(), hashlib.sha256(), 0
        for number, row in self._rows():
            try:
                item = self._item(number, row)
            except ConfigError as error:
                problems.append(str(error))
            else:
                num_items += 1
                claims += _claim(item).encode()
                keys.update(item.key.encode())
            if len(problems) == _MAX_PROBLEMS:
                raise ConfigError("\n".join(problems))
        if problems:
            raise ConfigError("\n".join(problems))
        if not num_items:
            raise ConfigError(f"{self.place}: lists nothing; give one address per row")
        if len(ids.distinct(np.frombuffer(claims, ids.ID).copy())) < num_items:
            raise ConfigError("\n".join(self._clashes()))
        return Checked(num_items, keys.hexdigest())

    def _clashes(self) -> list[str]:
        """Rows that want a target that an earlier one has; only called when there are some."""
        counts = Counter(_claim(item) for item in self.items())
        taken, problems = dict[str, int](), list[str]()
        for item in self.items():
            claim = _claim(item)
            if counts[claim] > 1 and claim in taken and len(problems) < _MAX_PROBLEMS:
                where = f"{self.place}: line {item.number}"
                problems.append(f"{where}: {item.target!r} is also the target of line {taken[claim]}; give it a path")
            taken.setdefault(claim, item.number)
        return problems

    def _item(self, number: int, row: Mapping[str, Any]) -> Item:
        try:
            return _parse(number, row, self._folder, self._unzip)
        except ValueError as error:
            raise ConfigError(f"{self.place}: line {number}: {error}") from None


def _claim(item: Item) -> str:
    """What no two items may share: their file; archives may share a folder, but not be the same one twice."""
    taken = f"{item.target}/ {origins.unsigned(item.url)}" if item.unzip else item.target
    return hashlib.sha256(taken.encode()).hexdigest()[:32]


def _parse(number: int, row: Mapping[str, Any], folder: Path, unzip: bool | None) -> Item:
    """One item from the values of its row.

    Raises:
        ValueError: It cannot be used.
    """
    unknown = [str(key) for key in row if key not in _COLUMNS]
    if unknown:
        raise ValueError(f"has no column {printable(unknown[0])!r:.100}; there are {', '.join(_COLUMNS)}")
    text = {key: _text(key, row.get(key)) for key in ("url", "name", "path", "remote_path")}
    url = origins.require_address(text["url"], folder)
    in_url = origins.name_in(url)
    stated = _flag(row.get("unzip"))
    is_packed = next((flag for flag in (stated, unzip) if flag is not None), in_url.lower().endswith(ENDINGS))
    target = _target(text["path"], text["remote_path"], in_url, is_packed)
    return Item(number, text["name"] or in_url or target, url, target, is_packed, Sums.parse(row))


def _target(path: str, remote_path: str, in_url: str, is_packed: bool) -> str:
    """Where it goes.

    Raises:
        ValueError: Nowhere, or out of the output.
    """
    if path and remote_path:
        raise ValueError("has path and remote_path; give one of them")
    folder = remote_path.rstrip("/") if remote_path else path.rstrip("/") if path.endswith("/") else ""
    if is_packed:
        target = folder or path
        fault = fault_of_name(target) if target else ""
    else:
        target = f"{folder}/{in_url}" if folder else path or in_url
        fault = fault_of_name(target)
    if fault:
        shown = printable(redacted(target))
        raise ValueError(
            f"path {shown!r:.200} {fault}; give another as path" if target else "names no file; give a path"
        )
    if f"{target}/".startswith(REPORTS):
        raise ValueError(f"path {target!r:.200} lies in {REPORTS}, where the reports are; give another as path")
    return target


def _text(key: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{key} is no text")
    return (value or "").strip()


def _flag(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in _BOOLS:
        raise ValueError(f"unzip {printable(word)!r:.50} is neither true nor false")
    return _BOOLS[word]


def _reader(place: str) -> Callable[[], Iterator[tuple[int, Mapping[str, Any]]]]:
    """How the rows of a list are read, by its ending.

    Raises:
        ConfigError: The ending is of no list.
        PreflightError: It cannot be read.
    """
    readers = {".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl, ".parquet": _parquet, ".txt": _lines}
    reader = readers.get(Path(place).suffix.lower())
    if reader is None:
        raise ConfigError(f"{place}: is no list by its ending; give one that ends in {', '.join(readers)}")
    path = _local(place)
    return lambda: reader(path, place)


def _local(place: str) -> Path:
    folder, _, name = place.rpartition("/")
    try:
        if is_bucket(place):
            return open_store(folder).fetch(name)
        with translated(place), Path(place).open("rb"):
            return Path(place)
    except StorageError as error:
        raise PreflightError(f"source: {error}") from None


def _text_lines(path: Path, place: str) -> Iterator[tuple[int, str]]:
    """Lines of UTF-8 text, numbered; a byte order mark is no part of it."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        number = 0
        try:
            while line := file.readline(_MAX_LINE_CHARS + 1):
                number += 1
                if len(line) > _MAX_LINE_CHARS:
                    raise ConfigError(f"{place}: line {number}: is longer than {_MAX_LINE_CHARS} characters")
                yield number, line
        except UnicodeDecodeError:
            raise ConfigError(f"{place}: line {number + 1}: is not UTF-8 text; save it as UTF-8") from None


def _lines(path: Path, place: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in _text_lines(path, place):
        url = line.strip()
        if url and not url.startswith("#"):
            yield number, {"url": url}


def _jsonl(path: Path, place: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in _text_lines(path, place):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise ConfigError(f"{place}: line {number}: is not JSON; write one object per line") from None
        if not isinstance(row, dict):
            raise ConfigError(f"{place}: line {number}: is no JSON object with a url")
        yield number, row


def _csv(path: Path, place: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows below a line of column names; the number is that of the line on which a row ends."""
    reader = csv.DictReader((line for _, line in _text_lines(path, place)), restkey="more columns", strict=True)
    try:
        if "url" not in (reader.fieldnames or ()):
            raise ConfigError(f"{place}: line 1: has no column url; there are {', '.join(_COLUMNS)}")
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ConfigError(f"{place}: line {reader.line_num}: is not CSV: {error}") from None


def _parquet(path: Path, place: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    number = 0
    try:
        with readable(place, "is damaged"), pq.ParquetFile(path) as file:
            _require_columns(file.schema_arrow, place)
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except DatasetError as error:
        raise ConfigError(str(error)) from None


def _require_columns(kinds: pa.Schema, place: str) -> None:
    require_plain(kinds, place)
    if "url" not in kinds.names:
        raise DatasetError(f"{place}: has no column url; there are {', '.join(_COLUMNS)}")
