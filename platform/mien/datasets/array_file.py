"""Arrays by their names from a stranger's file, of NumPy, Parquet, safetensors or a pickle: nothing in it runs."""

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mien.datasets import pickle_arrays, tensor_file
from mien.datasets.frames import from_arrow
from mien.datasets.pickle_arrays import CONVERT as CONVERT
from mien.datasets.shard import readable
from mien.errors import ConfigError, DatasetError
from mien.log import printable
from mien.storage.uri import canonical, open_store

ONLY = "array"
"""Name of the one array of an `.npy`."""

PICKLES = (".pkl", ".pickle", ".pt", ".pth")
"""Endings of what the first tools stored."""

Chosen = Callable[[Sequence[str]], list[str]]
"""Columns of a file to those that are read."""


def read_arrays(place: str, chosen: Chosen) -> dict[str, Any]:
    """Arrays of NumPy and of safetensors as they are; of Parquet, columns of lists and tensors as one array each.

    Args:
        place: The file, here or in a bucket; its ending tells the kind.
        chosen: Given all names, those that are read.

    Returns:
        Arrays by name; other columns as lists of plain values.

    Raises:
        ConfigError: It is of another kind.
        DatasetError: It is damaged, holds objects that only code could read, or rows of several lengths.
        StorageError: It cannot be read.
    """
    suffix = PurePosixPath(place).suffix.lower()
    if suffix not in _READERS:
        raise ConfigError(f"{place}: is of no kind that is read: {', '.join(_READERS)}; {CONVERT}")
    folder, _, name = canonical(place).rpartition("/")
    return _READERS[suffix](open_store(folder or "/").fetch(name), place, chosen)


def first_of(wanted: Sequence[str], there: Sequence[str], place: str, key: str) -> str:
    """The first of some names that a file has.

    Raises:
        ConfigError: It has none of them; its own are told, and the key that names one.
    """
    found = next((name for name in wanted if name in there), None)
    if found is None:
        names = printable(", ".join(there))
        raise ConfigError(f"{place}: has no array {' or '.join(wanted)}, only {names:.200}; set {key}")
    return found


def _from_npz(path: Path, place: str, chosen: Chosen) -> dict[str, Any]:
    """Arrays of an `.npz`; numpy refuses pickles by default."""
    with _numpy_reads(place), path.open("rb") as file:
        archive = np.load(file)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        return {name: archive[name] for name in chosen(archive.files)}


def _from_npy(path: Path, place: str, chosen: Chosen) -> dict[str, Any]:
    """The one array of an `.npy`."""
    with _numpy_reads(place), path.open("rb") as file:
        array = np.load(file)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of several arrays")
        return dict.fromkeys(chosen([ONLY]), array)


@contextmanager
def _numpy_reads(place: str) -> Iterator[None]:
    with readable(place, "is no readable file of NumPy"):
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(str(error)) from None
        except ValueError as error:
            if "pickle" not in str(error):
                raise
            what = "holds Python objects (a pickle, or rows of several lengths), which run code when they are read"
            raise DatasetError(f"{place}: {what}; {CONVERT}") from None


def _from_parquet(path: Path, place: str, chosen: Chosen) -> dict[str, Any]:
    """Columns of a Parquet file: lists and tensors as [n, d], others as lists."""
    with readable(place, "is no readable Parquet file"):
        file = pq.ParquetFile(path)
        names = chosen(file.schema_arrow.names)
        for name in names:
            _require_kind(file.schema_arrow.field(name).type, f"{place}: column {printable(name)}")
        table = file.read(names)
        table.validate(full=True)  # a damaged file may hold offsets that lead out of its buffers
        return {name: _plain(table[name], place) for name in names}


def _require_kind(kind: pa.DataType, what: str) -> None:
    """Types that no code of others reads: Ray's own tensors are unpickled when they are looked at."""
    is_plain = isinstance(kind, pa.FixedShapeTensorType) or _is_list_of_floats(kind)
    if not is_plain and (isinstance(kind, pa.BaseExtensionType) or pa.types.is_nested(kind)):
        raise DatasetError(f"{what} is {kind}; give lists of floats or tensors of one shape, or one text for each row")


def _is_list_of_floats(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_floating(kind.value_type))


def _plain(column: pa.ChunkedArray, place: str) -> Any:
    if isinstance(column.type, pa.FixedShapeTensorType) or _is_list_of_floats(column.type):
        return _matrix(column, place)
    return column.to_pylist()


def _matrix(column: pa.ChunkedArray, place: str) -> np.ndarray:
    """[n, d] of a column of lists or tensors."""
    if column.null_count:
        raise DatasetError(f"{place}: {column.null_count} of {len(column)} embeddings are missing; leave such rows out")
    if isinstance(column.type, pa.FixedShapeTensorType):
        return np.asarray(from_arrow(column))
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) > 1:
        raise DatasetError(
            f"{place}: embeddings have {min(lengths)} to {max(lengths)} dimensions; make them one length"
        )
    flat = pc.list_flatten(column)
    if flat.null_count:
        raise DatasetError(f"{place}: {flat.null_count} numbers of the embeddings are missing; leave such rows out")
    return np.asarray(flat.to_numpy()).reshape(len(column), -1)


_READERS = {
    ".npz": _from_npz,
    ".npy": _from_npy,
    ".parquet": _from_parquet,
    ".safetensors": tensor_file.read,
    **dict.fromkeys(PICKLES, pickle_arrays.read),
}
