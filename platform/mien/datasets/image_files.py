"""Where images lie: files of a folder, members of tars, rows of Parquet tables; on a disk or in a bucket.

They are listed once, in an order that is the same on every machine.
"""

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath

import pyarrow as pa

from mien.datasets.image_chunks import Chunk, FileChunk, TableChunk, opened_table
from mien.errors import PreflightError, StorageError
from mien.log import printable
from mien.storage.ahead import ahead
from mien.storage.folder import has
from mien.storage.source import tar_reader
from mien.storage.tar import member_uri
from mien.storage.uri import Entry, canonical, is_bucket, open_store

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_PACKED = (".tar", ".parquet")
_KNOWN = (*SUFFIXES, *_PACKED)
CHUNK_IMAGES = 1024
"""Neighbours that are read together; a chunk of a table ends where a row group does."""
_MAX_ROWS = 10_000_000
"""Of one table: the names of all images are in memory together."""


def find_images(place: str, column: str | None) -> list[Chunk]:
    """Every image of a folder with its sub-folders, of a tar or of a table, as chunks in the order of the places.

    Members of a tar stay in its order; the last of a name counts. What is hidden (a name that begins with a dot) is
    passed over, and so is what is no image by its ending.

    Args:
        place: Folder, .tar or .parquet on a disk or in a bucket; a folder may hold all kinds.
        column: Of tables; None takes the first that holds byte strings, or a struct with such a field `bytes`.

    Raises:
        PreflightError: There is no image, a tar is damaged, a table has no such column, or the place may not be read.
        DatasetError: A table is damaged.
    """
    where = canonical(place)
    try:
        chunks = list(_chunks(where, column))
    except StorageError as error:
        raise PreflightError(f"data: {error}") from None
    if not chunks:
        raise PreflightError(f"{place}: holds no image; names ending in {' '.join(_KNOWN)} are looked for")
    return chunks


def _chunks(where: str, column: str | None) -> Iterator[Chunk]:
    root, files = _files(where)
    for kind, group in groupby(files, lambda file: _suffix(file.name) if _suffix(file.name) in _PACKED else ""):
        if not kind:
            yield from _of_files(root, list(group), {})
            continue
        for found in ahead(partial(_in_tar, root) if kind == ".tar" else partial(_in_table, root, column), group):
            yield from found


def _files(where: str) -> tuple[str, list[Entry]]:
    """What names are relative to; and every file that is an image or holds some, sorted by name, its place its name."""
    folder, _, name = where.rpartition("/")
    if _suffix(where) in _KNOWN and has(open_store(folder or "/"), name):
        entry = open_store(folder or "/").stat(name)._replace(name=where)
        return where if _suffix(where) in _PACKED else folder, [entry]
    if not is_bucket(where) and not Path(where).is_dir():
        what = "is no image, tar or table by its ending" if Path(where).exists() else "does not exist"
        raise PreflightError(f"{where}: {what}; give a folder, a .tar or a .parquet of images")
    found = [entry for entry in open_store(where).list() if _is_wanted(entry.name)]
    return where, [entry._replace(name=f"{where}/{entry.name}") for entry in sorted(found)]


def _is_wanted(name: str) -> bool:
    is_hidden = any(part.startswith(".") for part in name.split("/"))
    return _suffix(name) in _KNOWN and not is_hidden


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _of_files(root: str, files: list[Entry], problems: dict[str, str]) -> Iterator[Chunk]:
    for start in range(0, len(files), CHUNK_IMAGES):
        some = tuple(files[start : start + CHUNK_IMAGES])
        yield FileChunk(root, some, {file.name: problems[file.name] for file in some if file.name in problems})


def _in_tar(root: str, tar: Entry) -> list[Chunk]:
    members = dict[str, Entry]()
    problems = dict[str, str]()
    with tar_reader(tar.name, tar) as reader:
        for member in reader.members():
            path = PurePosixPath(member.name)
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                members.pop(member.name, None)
                uri = member_uri(tar.name, member)
                members[member.name] = Entry(uri, member.size_bytes, tar.generation)
                problems |= {uri: member.problem} if member.problem else {}
    return list(_of_files(root, [*members.values()], problems))


def _in_table(root: str, column: str | None, file: Entry) -> list[Chunk]:
    with opened_table(file) as table:
        counts = [table.metadata.row_group(number).num_rows for number in range(table.num_row_groups)]
        if min(counts, default=0) < 0 or sum(counts) > _MAX_ROWS:
            raise ValueError(f"row groups of {counts[:8]} rows, where {_MAX_ROWS} are the most that a table may have")
        path = _column(table.schema_arrow, column, file.name)
    found, first, groups = list[Chunk](), 0, list[int]()
    for number in range(len(counts)):
        groups.append(number)
        num_rows = sum(counts[groups[0] : number + 1])
        if num_rows >= CHUNK_IMAGES or number == len(counts) - 1:
            found += [TableChunk(root, file, path, tuple(groups), first, num_rows)] if num_rows else []
            first, groups = first + num_rows, []
    return found


def _column(kinds: pa.Schema, wanted: str | None, place: str) -> str:
    """Path of the column that holds images.

    Raises:
        PreflightError: There is none.
    """
    for field in kinds:
        if wanted in (None, field.name):
            if _holds_bytes(field.type):
                return str(field.name)
            if pa.types.is_struct(field.type) and any(f.name == "bytes" and _holds_bytes(f.type) for f in field.type):
                return f"{field.name}.bytes"
    what = f"no column {printable(wanted)} of" if wanted else "no column of"
    names = ", ".join(printable(name) for name in kinds.names[:20])
    raise PreflightError(f"{place}: has {what} images (byte strings, or a struct with `bytes`), but {names}")


def _holds_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
