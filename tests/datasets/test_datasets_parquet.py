from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.datasets.parquet import ParquetConfig
from sample_datasets import make_frames


def write(path: Path, config: ParquetConfig, lengths: list[int]) -> pq.ParquetFile:
    writer = config.writer(path, {})
    for number, length in enumerate(lengths):
        writer.add(make_frames(f"{number:032x}", length, seed=number))
    writer.close()
    return pq.ParquetFile(path)


def test_row_groups_end_where_samples_end(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", ParquetConfig(row_group_mb=0.02), [4, 4, 4])
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4, 4, 4]
    file = write(tmp_path / "b.parquet", ParquetConfig(row_group_mb=1), [4, 4, 4])
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [12]


def test_plain_pyarrow_sees_tensors_and_zstd(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", ParquetConfig(), [2])
    assert file.schema_arrow.field("box").type == pa.fixed_shape_tensor(pa.float32(), [4])
    assert {file.metadata.row_group(0).column(i).compression for i in range(3)} == {"ZSTD"}


def test_an_unfinished_file_is_not_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    writer = ParquetConfig(row_group_mb=0.001).writer(path, {})
    writer.add(make_frames("c" * 32, 9))
    with pytest.raises(pa.ArrowInvalid):
        pq.ParquetFile(path)
    writer.close()
    assert pq.ParquetFile(path).metadata.num_rows == 9
