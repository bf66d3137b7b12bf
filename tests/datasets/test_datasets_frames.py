import hashlib

import numpy as np
import pyarrow as pa
import pytest

from mien import schema
from mien.datasets.frames import (
    checksum,
    crop_pixels,
    deserialize,
    serialize,
    to_table,
    tracks,
    values_of,
    with_column,
)
from mien.faces.crop import decode_jpeg
from sample_datasets import make_columns, make_frames


def equal(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    return left == right


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("num_frames", [1, 5])
def test_values_survive_the_table_and_the_crossing(raw: bool, num_frames: int) -> None:
    columns = make_columns("c" * 32, num_frames, raw=raw)
    table = deserialize(serialize(to_table(columns)))
    assert table.column_names == [name for name in schema.names(schema.FRAMES) if name in columns]
    assert all(equal(values_of(table, name), values) for name, values in columns.items())


def test_tensors_are_the_canonical_type_readable_without_mien() -> None:
    landmarks = make_frames("c" * 32, 2).schema.field("landmarks").type
    assert isinstance(landmarks, pa.FixedShapeTensorType)
    assert landmarks.shape == [schema.NUM_LANDMARKS, 3]


def test_a_slice_gives_its_own_rows() -> None:
    table = make_frames("c" * 32, 6)
    for name in table.column_names:
        assert equal(values_of(table.slice(2, 3), name), values_of(table, name)[2:5])


def test_unknown_columns_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="colour"):
        to_table({"colour": np.zeros(2)})
    with pytest.raises(ValueError, match="box"):
        to_table({"box": np.zeros((2, 3), np.float32)})
    with pytest.raises(ValueError, match="pts"):
        to_table({"pts": [b"1"]})


def test_types_are_those_of_the_schema_whatever_is_given() -> None:
    table = to_table({"pts": np.array([1, 2], np.int32), "score": np.array([0.5, 1.0])})
    assert [field.type for field in table.schema] == [pa.int64(), pa.float32()]


def test_a_column_is_added_in_the_order_of_the_schema() -> None:
    table = make_frames("c" * 32, 3).drop_columns(["feature"])
    feature = np.ones((3, 4, 5), np.float32)
    added = with_column(table, "feature", feature)
    assert added.column_names == make_frames("c" * 32, 3).column_names
    assert equal(values_of(added, "feature"), feature)


def test_tracks_are_the_runs_of_rows() -> None:
    table = to_table({"track": np.array([0, 0, 1, 3, 3, 3], np.int16), "pts": np.arange(6)})
    assert [(track, rows.num_rows) for track, rows in tracks(table)] == [(0, 2), (1, 1), (3, 3)]


def test_checksum_is_sha256_of_the_plain_bytes() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert checksum(values) == hashlib.sha256(values.tobytes()).hexdigest()
    assert checksum(values) == checksum(np.asfortranarray(values)) == checksum(values.astype(">f4"))


def test_checksum_of_byte_strings_sees_where_one_ends() -> None:
    assert checksum([b"ab", b"c"]) != checksum([b"a", b"bc"])
    assert checksum(["ab"]) == checksum([b"ab"])


def test_crops_without_a_picture_are_black() -> None:
    columns = make_columns("c" * 32, 2)
    pixels = crop_pixels(columns["crop"], 32)
    assert not pixels[0].any()
    assert np.array_equal(pixels[1], decode_jpeg(columns["crop"][1]))  # type: ignore[arg-type]
