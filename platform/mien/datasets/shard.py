"""What a shard format provides: a writer that is filled sample by sample, and a reader of row ranges."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from mien.datasets.frames import Values
from mien.errors import DatasetError
from mien.log import printable

BROKEN = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError),
    pa.ArrowException,
)
"""What h5py and pyarrow were seen to raise on damaged files; they promise no class."""


@contextmanager
def readable(place: str, what: str) -> Iterator[None]:
    """Whatever a library makes of a stranger's bytes inside the block is a DatasetError on one line."""
    try:
        yield
    except BROKEN as error:
        reason = printable(" ".join(str(error).split())) or type(error).__name__
        raise DatasetError(f"{place}: {what}: {reason:.300}; restore the file") from None


def require_plain(kinds: pa.Schema, place: str) -> None:
    """Let pass numbers, byte strings, texts, and tensors of numbers: types that no code of others reads.

    Ray registers an extension type whose values are unpickled when they are looked at.

    Raises:
        DatasetError: A column has another type.
    """
    for field in kinds:
        kind = field.type.value_type if isinstance(field.type, pa.FixedShapeTensorType) else field.type
        if not (pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_large_binary(kind)):
            raise DatasetError(f"{place}: {printable(field.name)} is of no kind that mien writes; refused")


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
