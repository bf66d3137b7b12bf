"""What a shard format provides: a writer that is filled sample by sample, and a reader of row ranges."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from mien.datasets.frames import Values


class ShardWriter(Protocol):
    """One shard under construction in a local file that nobody reads before it is closed."""

    def add(self, frames: pa.Table) -> tuple[int, int]:
        """Append one sample; returns its first row and the row after its last."""

    def close(self, samples: Sequence[Mapping[str, Any]] = ()) -> None:
        """Write what is known of each sample (rows like those of the index) and finish the file."""


class ShardReader(Protocol):
    """One finished shard."""

    @property
    def num_rows(self) -> int:
        """Rows of the shard."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order of the schema."""

    def read(self, column: str, start: int, stop: int) -> Values:
        """Values of one column in rows [start, stop)."""

    def metadata(self) -> dict[str, Any]:
        """What the writer was given: code version, schema version, models."""

    def samples(self) -> list[dict[str, Any]]:
        """What is known of each sample; a shard explains itself without its index."""

    def __enter__(self) -> Self:
        """The reader itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""


class ShardFormat(Protocol):
    """A format: how its files end, and what writes and reads them."""

    @property
    def suffix(self) -> str:
        """Ending of its files, with the dot."""

    def writer(self, path: Path, metadata: Mapping[str, Any]) -> ShardWriter:
        """A new shard at a local path."""
