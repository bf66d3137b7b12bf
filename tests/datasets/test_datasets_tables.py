from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien import schema
from mien.datasets.tables import TableFile, parquet_bytes, rows_to_table, table_schema, table_writer
from mien.errors import DatasetError
from sample_datasets import make_clip


@pytest.fixture
def table() -> pa.Table:
    return rows_to_table((make_clip(number).to_row() for number in range(25)), schema.PLAN)


@pytest.fixture
def path(tmp_path: Path, table: pa.Table) -> Path:
    """The table in row groups of four."""
    with table_writer(tmp_path / "table.parquet", table.schema) as writer:
        writer.write_table(table.slice(0, 10), 4)
        writer.write_table(table.slice(10), 4)
    return tmp_path / "table.parquet"


def test_every_row_and_slice_is_that_of_the_whole_table(path: Path, table: pa.Table) -> None:
    found, rows = TableFile(path), table.to_pylist()
    assert (found.num_rows, len(found)) == (25, 25)
    assert [found.row(number) for number in range(25)] == rows
    for start in range(25):
        for num_rows in (1, 4, 9, 40):
            assert found.slice(start, num_rows).to_pylist() == rows[start : start + num_rows]
    assert found.table() == table
    assert found.column("start_s") == table.column("start_s")
    assert found.table(["end_s", "clip_id"]).column_names == ["end_s", "clip_id"]


def test_a_row_that_is_not_there_is_an_index_error(path: Path) -> None:
    for number in (-1, 25):
        with pytest.raises(IndexError, match=f"row {number} of 25"):
            TableFile(path).row(number)
    assert TableFile(path).slice(25, 3).num_rows == 0


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    with table_writer(tmp_path / "x", table_schema(schema.INDEX)):
        pass
    found = TableFile(tmp_path / "x")
    assert found.num_rows == 0
    assert found.slice(0, 5).column_names == schema.names(schema.INDEX)
    assert found.column("clip_id").to_pylist() == []


def test_it_is_read_on_after_its_name_is_gone(path: Path, table: pa.Table) -> None:
    found = TableFile(path)
    path.unlink()
    assert found.table() == table
    assert found.row(24) == table.to_pylist()[24]


def test_a_damaged_file_is_named(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    (tmp_path / "text").write_bytes(b"nonsense")
    with pytest.raises(DatasetError, match=r"text: is damaged"):
        TableFile(tmp_path / "text")
    data[200:1000] = bytes(800)
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"gs://bucket/index\.parquet: is damaged"):
        TableFile(path, "gs://bucket/index.parquet").table()


def test_plain_rows_are_a_table_and_a_file(tmp_path: Path, table: pa.Table) -> None:
    (tmp_path / "x").write_bytes(parquet_bytes(table))
    assert pq.read_table(tmp_path / "x") == table
    assert table.schema == table_schema(schema.PLAN)
