"""What a chunk gives where its bytes are not as they were promised."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.datasets.image_chunks import FileChunk, TableChunk
from mien.errors import DatasetError, StorageError
from mien.storage.uri import Entry


def entry(path: Path) -> Entry:
    return Entry(str(path), path.stat().st_size, path.stat().st_mtime_ns)


def test_a_name_that_drives_a_terminal_stands_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b.jpg"
    path.write_bytes(b"x")
    assert FileChunk(str(tmp_path), (entry(path),), {}).names() == [r"a\x1b.jpg"]


def test_a_file_too_large_for_an_image_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.truncate((256 << 20) + 1)  # takes no room
    (content,) = FileChunk(str(tmp_path), (entry(path),), {}).contents()
    assert content == f"has {(256 << 20) + 1} bytes, more than {256 << 20}"


def test_a_file_that_is_gone_is_no_damaged_image(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    chunk = FileChunk(str(tmp_path), (entry(path),), {})
    path.unlink()
    with pytest.raises(StorageError, match=r"a\.jpg: does not exist"):
        list(chunk.contents())


def test_a_table_gives_the_rows_that_were_promised_or_is_damaged(tmp_path: Path) -> None:
    path, file = tmp_path / "t.parquet", io.BytesIO()
    rows = [bytes([number]) * 200 for number in range(100)]
    pq.write_table(pa.table({"image": rows}), file, row_group_size=50, compression="none", use_dictionary=False)
    path.write_bytes(file.getvalue())
    chunk = TableChunk(str(tmp_path), entry(path), "image", (1,), 50, 50)
    assert list(chunk.contents()) == rows[50:]
    assert chunk.names()[0] == "t.parquet/50"
    with pytest.raises(DatasetError, match=r"t\.parquet: is damaged: 50 rows instead of 51"):
        list(chunk._replace(num_rows=51).contents())
    length = (200).to_bytes(4, "little")
    path.write_bytes(file.getvalue().replace(length + rows[51], b"\xff\xff\xff\x7f" + rows[51]))
    with pytest.raises(DatasetError, match=r"t\.parquet: is damaged"):
        list(chunk._replace(file=entry(path)).contents())
