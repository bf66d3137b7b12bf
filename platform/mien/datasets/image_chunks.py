"""Images that are read together: neighbouring files, members of a tar, or rows of a Parquet table."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from mien.clips.naming import as_named
from mien.datasets.shard import readable
from mien.log import printable
from mien.storage.ahead import ahead
from mien.storage.source import Way, opened, read_small
from mien.storage.tar import split_member
from mien.storage.uri import Entry

_MAX_IMAGE_BYTES = 256 << 20
_BATCH_ROWS = 32

Content = bytes | str
"""The bytes of an image, or why there are none."""


class Chunk(Protocol):
    """Images that are read together. Its repr tells all that they depend on, sizes and generations included."""

    def names(self) -> list[str]:
        """Path of each below the place."""

    def contents(self) -> Iterator[Content]:
        """Each in turn.

        Raises:
            StorageError: One is gone, has changed since it was listed, or a bucket does not answer.
            DatasetError: A table is damaged.
        """


class FileChunk(NamedTuple):
    """Files, or members of one tar."""

    root: str
    files: tuple[Entry, ...]
    """Place of each as its name, and its size; the generation of a member is that of its tar."""
    problems: dict[str, str]
    """Place -> why a member of a tar has no bytes."""

    def names(self) -> list[str]:
        """Path of each below the root, a tar being a folder."""
        return [_below(self.root, as_named(file.name)) for file in self.files]

    def contents(self) -> Iterator[Content]:
        """Each in turn, several on their way."""
        return ahead(self._content, self.files)

    def _content(self, file: Entry) -> Content:
        if file.name in self.problems:
            return self.problems[file.name]
        if file.size_bytes > _MAX_IMAGE_BYTES:
            return f"has {file.size_bytes} bytes, more than {_MAX_IMAGE_BYTES}"
        way: Way = "checked" if split_member(file.name) else "whole"  # a whole object has a sum
        return read_small(file.name, file, _MAX_IMAGE_BYTES, way)


class TableChunk(NamedTuple):
    """Row groups of a table."""

    root: str
    file: Entry
    column: str
    groups: tuple[int, ...]
    first: int
    """Row."""
    num_rows: int

    def names(self) -> list[str]:
        """Path of the table and number of the row."""
        rows = range(self.first, self.first + self.num_rows)
        return [_below(self.root, f"{self.file.name}/{row}") for row in rows]

    def contents(self) -> Iterator[Content]:
        """Each in turn."""
        num_read = 0
        with opened_table(self.file) as table:
            columns, groups = [self.column], [*self.groups]
            for batch in table.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns, use_threads=False):
                for value in _byte_strings(batch.column(0)):
                    num_read += 1
                    yield value.as_py() or "has no bytes in its table"
            if num_read != self.num_rows:
                raise ValueError(f"{num_read} rows instead of {self.num_rows}")


@contextmanager
def opened_table(file: Entry) -> Iterator[pq.ParquetFile]:
    """A Parquet file by the ranges that are read of it.

    Raises:
        StorageError: It is gone, or has changed since it was listed.
        DatasetError: It is damaged; also where that shows inside the block.
    """
    with (
        opened(file.name, file) as source,
        readable(file.name, "is damaged"),
        pq.ParquetFile(source, pre_buffer=False) as table,
    ):
        yield table


def _byte_strings(values: pa.Array) -> pa.Array:
    """A column, or the one field of a struct that was read; checked, for a damaged file may lead out of its buffers."""
    values.validate(full=True)
    return values.flatten()[0] if pa.types.is_struct(values.type) else values


def _below(root: str, place: str) -> str:
    return printable(place.removeprefix(f"{root}/"))
