"""The frames of a sample in memory: one Arrow table, the same whatever the shard's format."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from mien import schema

Values = np.ndarray | list[bytes] | list[str]
"""One column: an array [N, *shape], or N byte strings or texts."""

_BY_NAME = {column.name: column for column in schema.FRAMES}


def arrow_type(column: schema.Column, shape: tuple[int, ...]) -> pa.DataType:
    """Arrow type of a column whose rows have the given shape; tensors are the canonical `fixed_shape_tensor`."""
    if column.dtype == schema.BYTES:
        return pa.large_binary()
    if column.dtype == schema.TEXT:
        return pa.string()
    scalar = pa.from_numpy_dtype(np.dtype(column.dtype))
    return pa.fixed_shape_tensor(scalar, shape) if shape else scalar


def to_table(columns: Mapping[str, Values]) -> pa.Table:
    """Frames from named columns, put into the order of the schema.

    Raises:
        ValueError: A column is not in the schema, or has another type or shape than it says.
    """
    unknown = columns.keys() - _BY_NAME.keys()
    if unknown:
        raise ValueError(f"not in the schema: {sorted(unknown)}")
    arrays = {c.name: to_arrow(c, columns[c.name]) for c in schema.FRAMES if c.name in columns}
    return pa.table(arrays)


def to_arrow(column: schema.Column, values: Values) -> pa.Array:
    """One column as an Arrow array."""
    if isinstance(values, list):
        return pa.array(values, arrow_type(_text_or_bytes(column), ()))
    fitted = _fitting(column, values)
    if fitted.ndim == 1:
        return pa.array(fitted)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(fitted))


def _fitting(column: schema.Column, values: np.ndarray) -> np.ndarray:
    """The array in the schema's type; a raw crop is the one column of bytes that may be an array."""
    if column.dtype == schema.BYTES:
        return np.asarray(values, np.uint8)
    shape = values.shape[1:]
    fits = column.name == "feature" or shape == column.shape
    if not fits:
        raise ValueError(f"{column.name}: rows have the shape {shape}, the schema says {column.shape}")
    return np.asarray(values, column.dtype)


def _text_or_bytes(column: schema.Column) -> schema.Column:
    if column.dtype not in {schema.TEXT, schema.BYTES}:
        raise ValueError(f"{column.name}: is {column.dtype}, not a list of byte strings")
    return column


def from_arrow(array: pa.ChunkedArray | pa.Array) -> Values:
    """Values of an Arrow column: an array [N, *shape], byte strings or texts."""
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps several chunks where one would overflow
        array = pa.concat_arrays(array.chunks)
    if isinstance(array.type, pa.FixedShapeTensorType):
        return _tensor_to_numpy(array)
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_boolean(array.type):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    return list(array.to_pylist())


def _tensor_to_numpy(array: pa.FixedShapeTensorArray) -> np.ndarray:
    if len(array) == 0:
        return np.empty((0, *array.type.shape), array.type.value_type.to_pandas_dtype())
    return np.asarray(array.to_numpy_ndarray())


def values_of(table: pa.Table, name: str) -> Values:
    """One column of a frames table."""
    return from_arrow(table.column(name))


def with_column(table: pa.Table, name: str, values: Values) -> pa.Table:
    """The table with one more column, in the order of the schema."""
    return to_table({n: values_of(table, n) for n in table.column_names} | {name: values})


def serialize(table: pa.Table) -> pa.Buffer:
    """A frames table as one Arrow IPC stream: how it crosses from stage to stage."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def deserialize(payload: pa.Buffer) -> pa.Table:
    """The table behind `serialize`, without a copy."""
    with pa.ipc.open_stream(payload) as reader:
        return reader.read_all()


def tracks(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Track number and rows of each sample of a clip; rows of a track stand together."""
    numbers = np.asarray(values_of(table, "track"))
    bounds = [0, *np.flatnonzero(numbers[1:] != numbers[:-1]) + 1, len(numbers)]
    for start, stop in pairwise(map(int, bounds)):
        yield int(numbers[start]), table.slice(start, stop - start)


def checksum(values: Values) -> str:
    """SHA-256 of a column's values, independent of the format they are stored in: 64 hex characters."""
    if isinstance(values, np.ndarray):
        little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
        return hashlib.sha256(little.data if little.size else b"").hexdigest()
    encoded = [value.encode() if isinstance(value, str) else value for value in values]
    sha = hashlib.sha256(np.array([len(value) for value in encoded], "<i8").tobytes())
    for value in encoded:
        sha.update(value)
    return sha.hexdigest()


def checksums(table: pa.Table) -> dict[str, str]:
    """Checksum of every column of one sample."""
    return {name: checksum(values_of(table, name)) for name in table.column_names}


def concatenate(parts: Sequence[Values]) -> Values:
    """Columns of several runs of rows, one after the other."""
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate([np.asarray(part) for part in parts])
    return [value for part in parts for value in part]  # type: ignore[return-value]


def crop_pixels(values: Values, size_px: int, rows: Sequence[int] | None = None) -> np.ndarray:
    """A column of crops as RGB uint8 [N, size, size, 3], whatever its encoding; black where a frame has no crop.

    Only the given rows are decoded.
    """
    from mien.faces.crop import decode_jpeg

    if isinstance(values, np.ndarray):
        return values if rows is None else values[[*rows]]
    rows = range(len(values)) if rows is None else rows
    pixels = np.zeros((len(rows), size_px, size_px, 3), np.uint8)
    for place, row in enumerate(rows):
        if values[row]:
            pixels[place] = decode_jpeg(values[row])  # type: ignore[arg-type]
    return pixels
