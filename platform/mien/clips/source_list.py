"""Sources that a person lists: one place a line, or a table that also knows size, generation and length of each."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mien.clips.by_source import BySource
from mien.clips.clip import Skipped, Source, to_labels
from mien.clips.naming import GLOB, located
from mien.clips.rows import READERS, Row, length_of, name_of, number_of, read_rows
from mien.errors import ConfigError, StorageError, Unavailable
from mien.log import printable
from mien.storage.ahead import ahead
from mien.storage.local import translated
from mien.storage.uri import GCS, Entry, canonical, is_bucket

_OWN = ("source", "size_bytes", "generation", "duration_s", "video_start_s", "subject", "start_s", "end_s")
"""Columns that are not labels; the last two are those of a list of clips, which may be the same file."""
_CHUNK_ROWS = 1024


class Listed(NamedTuple):
    """A row of a list of sources."""

    line: int
    uri: str
    values: dict[str, Any]

    @property
    def is_known(self) -> bool:
        """Whether nobody has to be asked for size and generation."""
        return self.values.get("size_bytes") is not None and self.values.get("generation") is not None


def is_list(place: str) -> bool:
    """Whether a place is a list of sources, by its ending: a folder or a pattern is none."""
    is_file = PurePosixPath(place).suffix.lower() in READERS and not GLOB.search(place)
    return is_file and (is_bucket(place) or not Path(place).expanduser().is_dir())


def listed(place: str, root: str) -> Iterator[Source | Skipped]:
    """The sources of a list, in its order; one that stands there again is taken once.

    The table has the column source (an absolute place, or a name below the root) and may have size_bytes and generation
    (of a file its modification time in ns), duration_s and video_start_s (with which nobody opens the video to plan its
    clips), subject, and others, which become labels.

    Raises:
        ConfigError: The list cannot be read, or a line of it has no source.
        Unavailable: A bucket did not answer.
    """
    rows, seen = read_rows(place), BySource()
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        new = [row for row in (_row(place, row, root) for row in chunk) if not seen.add(row.uri, row.line, None)]
        asks = any(not row.is_known and is_bucket(row.uri) for row in new)
        taken = partial(_taken, place)
        yield from ahead(taken, new) if asks else map(taken, new)


def _row(place: str, row: Row, root: str) -> Listed:
    name = row.values.get("source")
    if not isinstance(name, str) or not name:
        raise ConfigError(
            f"{printable(place)}: line {row.line} has no source; write one place a line, or a table with the column "
            "source"
        )
    uri = located(name, root)
    return Listed(row.line, canonical(uri) if is_bucket(uri) else uri, row.values)


def _taken(place: str, row: Listed) -> Source | Skipped:
    values = row.values
    if is_bucket(row.uri) and not row.uri.isprintable():
        return Skipped(ascii(row.uri), f"line {row.line}: its name has unprintable characters; rename it")
    try:
        duration_s = length_of(values.get("duration_s"))
        start_s = number_of(values.get("video_start_s")) or 0.0
        entry = Entry("", int(values["size_bytes"]), int(values["generation"])) if row.is_known else _stat(row.uri)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{printable(place)}: line {row.line}: {error}") from None
    except Unavailable:
        raise
    except StorageError as error:
        return Skipped(row.uri, f"line {row.line}: {str(error).removeprefix(f'{row.uri}: ')}")
    labels = to_labels({key: value for key, value in values.items() if key not in _OWN})
    subject = name_of(values.get("subject"))
    return Source(row.uri, entry.size_bytes, entry.generation, subject, labels, duration_s, start_s)


def _stat(uri: str) -> Entry:
    if not is_bucket(uri):
        with translated(uri):
            stat = Path(uri).stat()
        return Entry(uri, stat.st_size, stat.st_mtime_ns)
    from mien.storage.gcs import GcsStore

    bucket, _, name = uri.removeprefix(GCS).partition("/")
    return GcsStore(GCS + bucket).stat(name)
