"""Arrays come back by their names, whatever the file is; what is damaged or holds objects is refused in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.datasets.array_file import ONLY, first_of, read_arrays
from mien.errors import ConfigError, DatasetError

FIELD = np.arange(24, dtype=np.float32).reshape(3, 4, 2)


def everything(path: Path) -> dict[str, Any]:
    return read_arrays(str(path), list)


def test_arrays_of_every_kind_of_file_come_back(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", FIELD)
    np.savez(tmp_path / "some.npz", field=FIELD, names=np.array(["a", "b"]))
    rows = pa.array([[0.5, 1.5], [2.5, 3.5], [4.5, 5.5]], pa.list_(pa.float32()))
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(FIELD)
    pq.write_table(pa.table({"rows": rows, "field": tensors, "name": ["a", "b", "c"]}), tmp_path / "some.parquet")
    assert np.array_equal(everything(tmp_path / "one.npy")[ONLY], FIELD)
    assert np.array_equal(everything(tmp_path / "some.npz")["field"], FIELD)
    table = everything(tmp_path / "some.parquet")
    assert np.array_equal(table["rows"], [[0.5, 1.5], [2.5, 3.5], [4.5, 5.5]])
    assert np.array_equal(table["field"], FIELD)
    assert table["name"] == ["a", "b", "c"]


def test_only_what_is_chosen_is_read(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, field=FIELD, objects=np.array([{}, 1], object))
    assert [*read_arrays(str(path), lambda names: [name for name in names if name == "field"])] == ["field"]
    with pytest.raises(DatasetError, match=r"some\.npz: holds Python objects .* convert it where you trust it"):
        everything(path)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, 1], object))
    with pytest.raises(DatasetError, match="holds Python objects"):
        everything(tmp_path / "objects.npy")
    for name in ("a.npy", "a.npz", "a.parquet"):
        (tmp_path / name).write_bytes(b"no such file")
        with pytest.raises(DatasetError, match=rf"{name}: (is no readable|holds)"):
            everything(tmp_path / name)
    np.savez(tmp_path / "archive", field=FIELD)
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    with pytest.raises(DatasetError, match="an archive of several arrays"):
        everything(tmp_path / "archive.npy")
    pq.write_table(pa.table({"rows": [[1.0], [2.0, 3.0]]}), tmp_path / "ragged.parquet")
    with pytest.raises(DatasetError, match="1 to 2 dimensions"):
        everything(tmp_path / "ragged.parquet")
    with pytest.raises(ConfigError, match=r"a\.csv: is of no kind that is read: \.npz, \.npy, \.parquet"):
        everything(tmp_path / "a.csv")


def test_a_name_that_is_not_there_offers_those_that_are() -> None:
    assert first_of(["a", "b"], ["b", "c"], "x.npz", "source.array") == "b"
    with pytest.raises(ConfigError, match=r"x\.npz: has no array a or b, only c, d; set source\.array"):
        first_of(["a", "b"], ["c", "d"], "x.npz", "source.array")
