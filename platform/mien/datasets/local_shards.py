"""Shards as arrays on the local disk, mapped into memory: random windows cost a page, not a row group.

A shard is fetched, checked, decoded once per machine and shared by all its processes; the least recently used ones go
when the folder is full. The folder is a cache: what is lost is made again.
"""

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mien.datasets.dataset import Dataset
from mien.datasets.frames import crop_pixels
from mien.errors import DatasetError
from mien.storage.local import translated

Rows = Mapping[str, np.ndarray]
"""Column -> its values in all rows of a shard, mapped from disk: crops as RGB uint8 [N, size, size, 3]."""

_MAX_MAPPED = 64


class LocalShards:
    """Columns of the shards of one dataset."""

    def __init__(self, dataset: Dataset, columns: Sequence[str], folder: Path, max_bytes: float) -> None:
        """Nothing is fetched yet.

        Args:
            dataset: Where the shards are.
            columns: What is wanted of them; columns of variable length other than `crop` cannot be mapped.
            folder: On a local disk; processes of one machine may share it.
            max_bytes: Size that the folder may have; the shards in use may pass it.
        """
        self._dataset, self._columns, self._folder, self._max_bytes = dataset, tuple(columns), folder, max_bytes
        self._mapped = dict[str, Rows]()
        self._turn = threading.Lock()
        self._samples = _samples_of(dataset)
        folder.mkdir(parents=True, exist_ok=True)

    def rows(self, shard: str) -> Rows:
        """The columns of one shard, by its name in the index.

        Raises:
            DatasetError: A sample does not have its SHA-256, or lacks a column.
            NoSpace: The local disk is full.
        """
        with self._turn:
            if shard not in self._mapped:
                while len(self._mapped) >= _MAX_MAPPED:
                    self._mapped.pop(next(iter(self._mapped)))
                self._mapped[shard] = self._map(shard)
            return self._mapped[shard]

    def _map(self, shard: str) -> Rows:
        stem = self._folder / hashlib.sha256(shard.encode()).hexdigest()[:24]
        paths = {column: stem.with_suffix(f".{column}.npy") for column in self._columns}
        with translated(self._folder), _alone(stem.with_suffix(".lock")):
            rows = {column: self._column(shard, column, path) for column, path in paths.items()}
            self._make_room({*paths.values()})
            return rows

    def _column(self, shard: str, column: str, path: Path) -> np.ndarray:
        """The array in the folder; made where it is absent, or a machine that went down left a part of it."""
        try:
            found = _mapped(path)
            os.utime(path)
        except (FileNotFoundError, EOFError, ValueError):
            return self._made(shard, column, path)
        return found

    def _made(self, shard: str, column: str, path: Path) -> np.ndarray:
        """Copy one column sample by sample, each checked; the file has its name when it is whole.

        By plain writes: a mapped file on a full disk ends the process instead of raising an error. Mapped before it has
        its name: from then on another process may delete it to make room.
        """
        numbers = self._samples[shard]
        num_rows = max(int(self._dataset.index_file.row(number)["row_stop"]) for number in numbers)
        draft = path.with_suffix(".draft")  # one writer at a time; what a killed one left is written over
        try:
            with draft.open("wb") as file:
                for number in numbers:
                    start, values = self._read(number, column)
                    if not file.tell():
                        header = {"descr": values.dtype.str, "fortran_order": False}
                        np.lib.format.write_array_header_2_0(file, header | {"shape": (num_rows, *values.shape[1:])})
                        first = file.tell()
                    file.seek(first + start * values[:1].nbytes)
                    file.write(np.ascontiguousarray(values).data)
            found = _mapped(draft)
            draft.replace(path)
            return found
        finally:
            draft.unlink(missing_ok=True)

    def _read(self, number: int, column: str) -> tuple[int, np.ndarray]:
        """First row of a sample in its shard, and its values."""
        sample = self._dataset.sample(number)
        if column not in sample.columns:
            raise DatasetError(f"{self._dataset.uri}/{sample.row['file']}: has no column {column}")
        values = sample[column]
        if column == "crop":
            values = crop_pixels(values, self._dataset.crop_size_px)
        if not isinstance(values, np.ndarray):
            raise ValueError(f"{column}: has values of variable length, which cannot be mapped")
        return int(sample.row["row_start"]), values

    def _make_room(self, kept: set[Path]) -> None:
        """Delete the arrays that were used least lately; who has one mapped can read it on."""
        files = [(path.stat().st_mtime, path.stat().st_size, path) for path in self._folder.glob("*.npy")]
        size = sum(num_bytes for _, num_bytes, _ in files)
        for _, num_bytes, path in sorted(files):
            if size > self._max_bytes and path not in kept:
                path.unlink(missing_ok=True)
                size -= num_bytes


def _mapped(path: Path) -> np.ndarray:
    """An array on disk, without a copy.

    Raises:
        FileNotFoundError: It is not there.
        EOFError: It is empty.
        ValueError: It is no array, or shorter than its header says.
    """
    found: np.ndarray = np.load(path, mmap_mode="r")  # which refuses pickles
    return found


def _samples_of(dataset: Dataset) -> dict[str, list[int]]:
    """Shard -> rows of the index that lie in it."""
    found = dict[str, list[int]]()
    for number, name in enumerate(dataset.index_file.column("file").to_pylist()):
        found.setdefault(name, []).append(number)
    return found


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process of this machine at a time; the lock goes with its holder, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
