"""Shards in Parquet: canonical fixed-shape tensors, readable without mien; row groups end where a sample ends."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from mien import schema
from mien.config import Config
from mien.datasets.frames import Values, concatenate, from_arrow
from mien.datasets.shard import readable, require_plain

_METADATA_KEY = b"mien"
_SAMPLES_KEY = b"mien.samples"


class ParquetConfig(Config):
    """Shards in Parquet."""

    kind: Literal["parquet"] = "parquet"

    compression_level: int = Field(1, ge=1, le=19)
    """Level of zstd. JPEG crops do not shrink; features and landmarks do, a little."""

    row_group_mb: float = Field(16.0, gt=0, le=1024)
    """A row group is closed after the sample that passes this size. A reader of one clip decodes its whole row group,
    so this is smaller than the 64 MB and more that suit scans."""

    @property
    def suffix(self) -> str:
        """Ending of the files."""
        return ".parquet"

    def writer(self, path: Path, metadata: Mapping[str, Any]) -> "ParquetWriter":
        """A new shard at a local path."""
        return ParquetWriter(path, self, metadata)


class ParquetWriter:
    """Appends samples; holds at most one row group."""

    def __init__(self, path: Path, config: ParquetConfig, metadata: Mapping[str, Any]) -> None:
        """Open the file on the first sample, whose columns every other sample must have."""
        self._path, self._config, self._metadata = path, config, dict(metadata)
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self._num_rows = 0

    def add(self, frames: pa.Table) -> tuple[int, int]:
        """Append one sample; returns its first row and the row after its last."""
        start, self._num_rows = self._num_rows, self._num_rows + frames.num_rows
        self._waiting.append(frames)
        self._waiting_bytes += frames.nbytes
        if self._waiting_bytes >= self._config.row_group_mb * 1e6:
            self._flush()
        return start, self._num_rows

    def close(self, samples: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write the rest and the footer."""
        self._flush()
        if self._writer is not None:
            self._writer.add_key_value_metadata({_SAMPLES_KEY: json.dumps([dict(sample) for sample in samples])})
            self._writer.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        group = pa.concat_tables(self._waiting)
        if self._writer is None:
            self._writer = self._open(group.schema)
        self._writer.write_table(group, row_group_size=group.num_rows)
        self._waiting, self._waiting_bytes = [], 0

    def _open(self, arrow_schema: pa.Schema) -> pq.ParquetWriter:
        metadata = {**(arrow_schema.metadata or {}), _METADATA_KEY: json.dumps(self._metadata).encode()}
        return pq.ParquetWriter(
            self._path,
            arrow_schema.with_metadata(metadata),
            compression="zstd",
            compression_level=self._config.compression_level,
            use_dictionary=["clip_id", "track"],
            write_statistics=["clip_id", "track", "pts", "time_s"],
        )


class ParquetReader:
    """Reads row ranges by the row groups that hold them."""

    def __init__(self, path: Path) -> None:
        """Open, read the footer and audit it.

        Raises:
            DatasetError: It is not a shard in Parquet, or has a column of a kind that mien does not write.
        """
        self._path = path
        with readable(str(path), "is not a readable Parquet shard"):
            self._file = pq.ParquetFile(path, memory_map=True)
            counts = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
            if min(counts, default=0) < 0 or sum(counts) != self._file.metadata.num_rows:
                raise ValueError(f"row groups of {counts} rows for {self._file.metadata.num_rows}")
            self._starts = [0, *accumulate(counts)]
            require_plain(self._file.schema_arrow, str(path))

    @property
    def num_rows(self) -> int:
        """Rows of the shard."""
        return int(self._file.metadata.num_rows)

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order of the schema."""
        present = set(self._file.schema_arrow.names)
        return [name for name in schema.names(schema.FRAMES) if name in present]

    def read(self, column: str, start: int, stop: int) -> Values:
        """Values of one column in rows [start, stop).

        Raises:
            DatasetError: They are not there, or damaged.
        """
        with readable(str(self._path), f"column {column} cannot be read"):
            if not 0 <= start <= stop <= self.num_rows:
                raise ValueError(f"rows {start} to {stop} of {self.num_rows}")
            first = min(bisect_right(self._starts, start), self._file.num_row_groups) - 1
            groups = [i for i in range(first, self._file.num_row_groups) if i == first or self._starts[i] < stop]
            values = concatenate([self._group(i, column) for i in groups])
            offset = self._starts[groups[0]]
            return values[start - offset : stop - offset]

    def _group(self, number: int, column: str) -> Values:
        part = self._file.read_row_group(number, columns=[column]).column(0)
        part.validate(full=True)  # a damaged file may hold offsets that lead out of its buffers
        return from_arrow(part)

    def metadata(self) -> dict[str, Any]:
        """What the writer was given."""
        with readable(str(self._path), "its metadata cannot be read"):
            return dict(json.loads((self._file.metadata.metadata or {}).get(_METADATA_KEY, b"{}")))

    def samples(self) -> list[dict[str, Any]]:
        """What is known of each sample."""
        with readable(str(self._path), "its list of samples cannot be read"):
            return list(json.loads((self._file.metadata.metadata or {}).get(_SAMPLES_KEY, b"[]")))

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()
