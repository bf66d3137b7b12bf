"""Shards as arrays on the local disk: random windows cost a page, not a row group.

A shard is fetched, checked and decoded once per machine.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mien.datasets.dataset import Dataset
from mien.datasets.frames import crop_pixels
from mien.datasets.local_arrays import LocalArrays, Rows, begin_array
from mien.errors import DatasetError
from mien.storage.uri import canonical


def shards_root(dataset: str) -> Path:
    """Where a machine keeps decoded shards of a dataset, each run of a training in a folder of its own."""
    return Path(tempfile.gettempdir()) / "mien-shards" / hashlib.sha256(canonical(dataset).encode()).hexdigest()[:16]


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
        self._dataset, self._columns = dataset, tuple(columns)
        self._samples = _samples_of(dataset)
        self._arrays = LocalArrays(folder, max_bytes)

    def rows(self, shard: str) -> Rows:
        """The columns of one shard, by its name in the index: crops as RGB uint8 [N, size, size, 3].

        Raises:
            DatasetError: A sample does not have its SHA-256, or lacks a column.
            NoSpace: The local disk is full.
        """
        return self._arrays.rows(shard, {column: partial(self._write, shard, column) for column in self._columns})

    def _write(self, shard: str, column: str, file: BinaryIO) -> None:
        """Copy one column sample by sample, each checked."""
        numbers = self._samples[shard]
        num_rows = max(int(self._dataset.index_file.row(number)["row_stop"]) for number in numbers)
        for number in numbers:
            start, values = self._read(number, column)
            if not file.tell():
                first = begin_array(file, values.dtype, (num_rows, *values.shape[1:]))
            file.seek(first + start * values[:1].nbytes)
            file.write(np.ascontiguousarray(values).data)

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


def _samples_of(dataset: Dataset) -> dict[str, list[int]]:
    """Shard -> rows of the index that lie in it."""
    found = dict[str, list[int]]()
    for number, name in enumerate(dataset.index_file.column("file").to_pylist()):
        found.setdefault(name, []).append(number)
    return found
