"""Arrays of a key are made once, and whole; more is tested through the shards of a dataset."""

from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from mien.datasets.local_arrays import LocalArrays, begin_array

KIND = np.dtype([("pixels", "u1", (2, 2, 3)), ("fault", "S8")])


def write(values: np.ndarray, made: list[str], file: BinaryIO) -> None:
    made.append("made")
    begin_array(file, values.dtype, values.shape)
    file.write(values.tobytes())


@pytest.fixture
def values() -> np.ndarray:
    """Records of two fields."""
    found = np.zeros(5, KIND)
    found["pixels"][3], found["fault"][4] = 7, b"broken"
    return found


def test_records_come_back_mapped_and_are_made_once(tmp_path: Path, values: np.ndarray) -> None:
    made = list[str]()
    for _ in range(2):
        rows = LocalArrays(tmp_path / "new", 1e9).rows("key", {"x": partial(write, values, made)})
        np.testing.assert_array_equal(rows["x"], values)
        assert isinstance(rows["x"], np.memmap)
    assert made == ["made"]


def test_keys_and_columns_do_not_meet(tmp_path: Path) -> None:
    arrays = LocalArrays(tmp_path, 1e9)
    for number, key in enumerate(("a", "b")):
        columns = {name: partial(write, np.array([number, place]), []) for place, name in enumerate("xy")}
        arrays.rows(key, columns)
    again = LocalArrays(tmp_path, 1e9)
    for number, key in enumerate(("a", "b")):
        rows = again.rows(key, dict.fromkeys("xy", partial(write, np.zeros(0), [])))
        assert {name: row.tolist() for name, row in rows.items()} == {"x": [number, 0], "y": [number, 1]}


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(file: BinaryIO) -> None:
        begin_array(file, KIND, (5,))
        raise ValueError("half")

    def stop_short(file: BinaryIO) -> None:
        begin_array(file, KIND, (5,))

    for writer in (fail, stop_short):
        with pytest.raises(ValueError, match=r"half|mmap length"):
            LocalArrays(tmp_path, 1e9).rows("key", {"x": writer})
        assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
