"""Shards in HDF5: flat columns with explicit chunks; byte strings as one flat column and their splits."""

import io
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
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
from mien.errors import DatasetError

SPLITS = "_splits"
"""`crop_splits[i]:crop_splits[i + 1]` are the bytes of row i in `crop`."""

_ALLOWED_FILTERS = {"gzip", "lzf", None}
_READ_CACHE_BYTES = 16 << 20


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


class _Disk(io.FileIO):
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
        self._disk = _Disk(path)
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
            DatasetError: It is not HDF5, or holds links, external storage, virtual datasets or unknown filters.
        """
        self._path = path
        try:
            self._file = h5py.File(path, "r", rdcc_nbytes=_READ_CACHE_BYTES)
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            raise DatasetError(f"{path}: is not a readable HDF5 shard: {error}") from None
        try:
            audit(self._file, path)
            self._num_rows = int(self._file["row_splits"][-1])
        except KeyError:
            self._file.close()
            raise DatasetError(f"{path}: has no row_splits, so it is not a shard of mien") from None
        except DatasetError:
            self._file.close()
            raise

    @property
    def num_rows(self) -> int:
        """Rows of the shard."""
        return self._num_rows

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order of the schema."""
        return [name for name in schema.names(schema.FRAMES) if name in self._file]

    def read(self, column: str, start: int, stop: int) -> Values:
        """Values of one column in rows [start, stop)."""
        try:
            if column + SPLITS in self._file:
                return self._read_bytes(column, start, stop)
            values = self._file[column][start:stop]
        except (OSError, KeyError, RuntimeError, TypeError) as error:
            raise DatasetError(f"{self._path}: column {column} cannot be read: {error}") from None
        return [text.decode() for text in values] if column == "clip_id" else np.asarray(values)

    def _read_bytes(self, column: str, start: int, stop: int) -> list[bytes]:
        splits = self._file[column + SPLITS][start : stop + 1]
        flat = self._file[column][splits[0] : splits[-1]].tobytes()
        begins = splits - splits[0]
        return [flat[a:b] for a, b in pairwise(begins)]

    def metadata(self) -> dict[str, Any]:
        """What the writer was given."""
        return dict(json.loads(self._file.attrs.get("mien", "{}")))

    def samples(self) -> list[dict[str, Any]]:
        """What is known of each sample."""
        return list(json.loads(self._file["samples"][:].tobytes()))

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()


def audit(file: h5py.File, path: Path) -> None:
    """Refuse an HDF5 file whose reading could open another file or run a foreign filter.

    Raises:
        DatasetError: Names the file, the object and what it is.
    """
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise DatasetError(f"{path}: {name} is a link out of its place; refused")
        item = file[name]
        if not isinstance(item, h5py.Dataset):
            raise DatasetError(f"{path}: {name} is not a column; refused")
        if item.is_virtual or item.external:
            raise DatasetError(f"{path}: {name} keeps its data in other files; refused")
        if item.compression not in _ALLOWED_FILTERS or _has_foreign_filter(item):
            raise DatasetError(f"{path}: {name} uses a filter that is not built in; refused")


def _has_foreign_filter(item: h5py.Dataset) -> bool:
    properties = item.id.get_create_plist()
    builtin = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
    return any(properties.get_filter(i)[0] not in builtin for i in range(properties.get_nfilters()))
