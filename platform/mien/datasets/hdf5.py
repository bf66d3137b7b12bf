"""Shards in HDF5: flat columns with explicit chunks; byte strings as one flat column and their splits."""

import contextlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import h5py
import numpy as np
import pyarrow as pa
from pydantic import Field

from mien import schema
from mien.config import Config
from mien.datasets.frames import Values, values_of
from mien.datasets.shard import BROKEN, readable
from mien.errors import DatasetError
from mien.log import printable

SPLITS = "_splits"
"""`crop_splits[i]:crop_splits[i + 1]` are the bytes of row i in `crop`."""

_READ_CACHE_BYTES = 16 << 20

_BUILTIN_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_LZF,
}
_MAX_COLUMNS = 100
_MAX_CHUNK_BYTES = 128 << 20
"""Twice the largest chunk that can be configured: one is decompressed as a whole."""
_MAX_RATIO = 1100
"""Deflate makes of a byte at most 1032; what claims more stores nothing there."""


class Hdf5Config(Config):
    """Shards in HDF5."""

    kind: Literal["hdf5"] = "hdf5"

    chunk_mb: float = Field(1.0, gt=0, le=64)
    """Size of a chunk, at least one row. Whole chunks are read, so small is kind to random access."""

    compression: Literal["none", "lzf", "gzip"] = "none"
    """Of columns that are not JPEG already. gzip is slow; both are built into every HDF5."""

    @property
    def suffix(self) -> str:
        """Ending of the files."""
        return ".h5"

    def writer(self, path: Path, metadata: Mapping[str, Any]) -> "Hdf5Writer":
        """A new shard at a local path."""
        return Hdf5Writer(path, self, metadata)


class Disk(io.FileIO):
    """A file that keeps its first error and takes no more: HDF5 crashes if it cannot write to the end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """All bytes, or none after an error."""
        rest = memoryview(data).cast("B")
        num_bytes = len(rest)
        while rest and self.error is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.error = error
        return num_bytes


class Hdf5Writer:
    """Appends samples to flat, resizable columns."""

    def __init__(self, path: Path, config: Hdf5Config, metadata: Mapping[str, Any]) -> None:
        """Create the file; its columns are made from the first sample."""
        self._config = config
        self._disk = Disk(path)
        self._file = h5py.File(self._disk, "w", libver=("v110", "v114"))
        self._file.attrs["mien"] = json.dumps(dict(metadata))
        self._num_rows = 0
        self._row_splits = [0]

    def add(self, frames: pa.Table) -> tuple[int, int]:
        """Append one sample; returns its first row and the row after its last.

        Raises:
            OSError: The disk is full, or took no more for another reason.
        """
        start, self._num_rows = self._num_rows, self._num_rows + frames.num_rows
        try:
            for name in frames.column_names:
                self._append(name, values_of(frames, name))
        finally:
            if self._disk.error is not None:
                self._close()
        self._row_splits.append(self._num_rows)
        return start, self._num_rows

    def close(self, samples: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write where samples begin and what they are (JSON as bytes) and finish the file."""
        self._file.create_dataset("row_splits", data=np.array(self._row_splits, np.int64))
        text = json.dumps([dict(sample) for sample in samples]).encode()
        self._file.create_dataset("samples", data=np.frombuffer(text, np.uint8))
        self._close()

    def _close(self) -> None:
        """Close, and raise what went wrong on the disk; HDF5 must not be left open until the interpreter ends."""
        self._file.close()
        self._disk.close()
        if self._disk.error is not None:
            raise self._disk.error

    def _append(self, name: str, values: Values) -> None:
        if isinstance(values, np.ndarray):
            self._extend(name, values)
        elif name == "clip_id":
            self._extend(name, np.array(values, f"S{schema.CLIP_ID_CHARS}"))
        else:
            self._append_bytes(name, values)

    def _append_bytes(self, name: str, values: list[Any]) -> None:
        """Byte strings end to end in `name`, their ends in `name_splits`, which begins with 0."""
        splits = self._file.get(name + SPLITS)
        begin = int(splits[-1]) if splits is not None else 0
        ends = begin + np.cumsum([len(value) for value in values], dtype=np.int64)
        self._extend(name, np.frombuffer(b"".join(values), np.uint8))
        self._extend(name + SPLITS, ends if splits is not None else np.r_[np.int64(0), ends])

    def _extend(self, name: str, values: np.ndarray) -> None:
        column = self._file.get(name)
        if column is None:
            column = self._create(name, values)
        begin = column.shape[0]
        column.resize(begin + len(values), axis=0)
        column[begin:] = values

    def _create(self, name: str, values: np.ndarray) -> h5py.Dataset:
        row_bytes = max(1, values.dtype.itemsize * int(np.prod(values.shape[1:])))
        rows = max(1, int(self._config.chunk_mb * 1e6 / row_bytes))
        already_small = name in {"crop", "thumb"} and values.ndim == 1
        return self._file.create_dataset(
            name,
            shape=(0, *values.shape[1:]),
            maxshape=(None, *values.shape[1:]),
            dtype=values.dtype,
            chunks=(rows, *values.shape[1:]),
            compression=None if already_small or self._config.compression == "none" else self._config.compression,
        )


class Hdf5Reader:
    """Reads row ranges of flat columns, after an audit that refuses what could reach outside the file."""

    def __init__(self, path: Path) -> None:
        """Open and audit.

        Raises:
            DatasetError: It is not HDF5, or holds links, external storage, virtual datasets, unknown filters, or
                columns that claim more than the file holds.
        """
        self._path = path
        with readable(str(path), "is not a readable HDF5 shard"):
            self._file = h5py.File(path, "r", rdcc_nbytes=_READ_CACHE_BYTES)
        try:
            with readable(str(path), "is not a readable HDF5 shard"):
                names = audit(self._file, path)
                self._columns = [name for name in schema.names(schema.FRAMES) if name in names]
                self._num_rows = _num_rows(self._file, names, path)
        except DatasetError:
            self._close()
            raise

    @property
    def num_rows(self) -> int:
        """Rows of the shard."""
        return self._num_rows

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order of the schema."""
        return list(self._columns)

    def read(self, column: str, start: int, stop: int) -> Values:
        """Values of one column in rows [start, stop).

        Raises:
            DatasetError: They are not there, or damaged.
        """
        with readable(str(self._path), f"column {column} cannot be read"):
            if not 0 <= start <= stop <= self._num_rows:
                raise ValueError(f"rows {start} to {stop} of {self._num_rows}")
            if column + SPLITS in self._file:
                return self._read_bytes(column, start, stop)
            values = self._file[column][start:stop]
            return [text.decode() for text in values] if column == "clip_id" else np.asarray(values)

    def _read_bytes(self, column: str, start: int, stop: int) -> list[bytes]:
        splits = self._file[column + SPLITS][start : stop + 1]
        flat = self._file[column][splits[0] : splits[-1]].tobytes()
        begins = splits - splits[0]
        return [flat[a:b] for a, b in pairwise(begins)]

    def metadata(self) -> dict[str, Any]:
        """What the writer was given."""
        with readable(str(self._path), "its metadata cannot be read"):
            return dict(json.loads(self._file.attrs.get("mien", "{}")))

    def samples(self) -> list[dict[str, Any]]:
        """What is known of each sample."""
        with readable(str(self._path), "its list of samples cannot be read"):
            return list(json.loads(self._file["samples"][:].tobytes()))

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._close()

    def _close(self) -> None:
        with contextlib.suppress(*BROKEN):  # a damaged file may not even close in peace
            self._file.close()


def audit(file: h5py.File, path: Path) -> list[str]:
    """Refuse an HDF5 file whose reading could open another file, run a foreign filter or claim memory for nothing.

    Returns:
        Names of its datasets: all that it has.

    Raises:
        DatasetError: Names the file, the object and what it is.
    """
    names = list(islice(file, _MAX_COLUMNS + 1))
    if len(names) > _MAX_COLUMNS:
        raise DatasetError(f"{path}: holds more than {_MAX_COLUMNS} objects; refused")
    for name in names:
        fault = _fault(file, name, path.stat().st_size)
        if fault:
            raise DatasetError(f"{path}: {printable(name)} {fault}; refused")
    return names


def _fault(file: h5py.File, name: str, file_bytes: int) -> str:
    """What is wrong with one object, empty for a column as mien writes it."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        return "is a link out of its place"
    item = file[name]
    if not isinstance(item, h5py.Dataset):
        return "is not a column"
    fault = storage_fault(item, file_bytes)  # first: even the shape of a virtual dataset opens its sources
    if not fault and (item.dtype.kind not in "biufS" or item.ndim == 0):
        return f"holds no plain numbers or bytes ({item.dtype})"
    return fault


def storage_fault(item: h5py.Dataset, file_bytes: int) -> str:
    """What is wrong with how the values of a dataset are stored, empty for nothing."""
    properties = item.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        return "keeps its data in other files"
    if any(properties.get_filter(i)[0] not in _BUILTIN_FILTERS for i in range(properties.get_nfilters())):
        return "uses a filter that is not built in"
    if item.size is None:
        return "holds no values"
    stored = item.id.get_storage_size()
    if stored > file_bytes or item.size * item.dtype.itemsize > _MAX_RATIO * stored:
        return f"claims {item.size * item.dtype.itemsize} bytes and stores {min(stored, file_bytes)}"
    if item.chunks and math.prod(item.chunks) * item.dtype.itemsize > _MAX_CHUNK_BYTES:
        return f"has chunks of more than {_MAX_CHUNK_BYTES} bytes"
    return ""


def _num_rows(file: h5py.File, names: Sequence[str], path: Path) -> int:
    """Rows of the shard, which every column has."""
    if "row_splits" not in names:
        raise DatasetError(f"{path}: has no row_splits, so it is not a shard of mien")
    num_rows = int(file["row_splits"][-1])
    for name in (name for name in schema.names(schema.FRAMES) if name in names):
        is_bytes = name + SPLITS in names
        found = len(file[name + SPLITS]) - 1 if is_bytes else len(file[name])
        if found != num_rows:
            raise DatasetError(f"{path}: {name} has {found} rows, the shard {num_rows}; restore the file")
    return num_rows
