"""Arrays on the local disk, mapped into memory: random rows cost a page.

An array is made once per machine and shared by all its processes; the least recently used ones go when the folder is
full. The folder is a cache: what is lost is made again.
"""

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mien.storage.local import translated

Rows = Mapping[str, np.ndarray]
"""Column -> its values in all rows, mapped from disk."""

Write = Callable[[BinaryIO], None]
"""Fills an empty file with one array as .npy, by `begin_array` and plain writes: a mapped file on a full disk ends the
process instead of raising an error."""

_MAX_MAPPED = 64


class LocalArrays:
    """Arrays by a key and a column."""

    def __init__(self, folder: Path, max_bytes: float) -> None:
        """Nothing is made yet.

        Args:
            folder: On a local disk; processes of one machine may share it.
            max_bytes: Size that the folder may have; the arrays in use may pass it.
        """
        self._folder, self._max_bytes = folder, max_bytes
        self._mapped = dict[str, Rows]()
        self._turn = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def rows(self, key: str, columns: Mapping[str, Write]) -> Rows:
        """The columns of one key; those that are not in the folder are made.

        Raises:
            NoSpace: The local disk is full.
        """
        with self._turn:
            if key not in self._mapped:
                while len(self._mapped) >= _MAX_MAPPED:
                    self._mapped.pop(next(iter(self._mapped)))
                self._mapped[key] = self._map(key, columns)
            return self._mapped[key]

    def _map(self, key: str, columns: Mapping[str, Write]) -> Rows:
        stem = self._folder / hashlib.sha256(key.encode()).hexdigest()[:24]
        paths = {column: stem.with_suffix(f".{column}.npy") for column in columns}
        with translated(self._folder), _alone(stem.with_suffix(".lock")):
            rows = {column: _found_or_made(path, columns[column]) for column, path in paths.items()}
            self._make_room({*paths.values()})
            return rows

    def _make_room(self, kept: set[Path]) -> None:
        """Delete the arrays that were used least lately; who has one mapped can read it on."""
        files = list[tuple[float, int, Path]]()
        for path in self._folder.glob("*.npy"):
            with contextlib.suppress(FileNotFoundError):  # another process makes room, too
                stat = path.stat()
                files.append((stat.st_mtime, stat.st_size, path))
        size = sum(num_bytes for _, num_bytes, _ in files)
        for _, num_bytes, path in sorted(files):
            if size > self._max_bytes and path not in kept:
                path.unlink(missing_ok=True)
                size -= num_bytes


def begin_array(file: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> int:
    """Write the header of an array; returns where its first byte belongs."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, header)
    return file.tell()


def _found_or_made(path: Path, write: Write) -> np.ndarray:
    """The array in the folder; made where it is absent, or a machine that went down left a part of it."""
    try:
        found = _mapped(path)
        os.utime(path)
    except (FileNotFoundError, EOFError, ValueError):
        return _made(path, write)
    return found


def _made(path: Path, write: Write) -> np.ndarray:
    """A new array; the file has its name when it is whole.

    Mapped before it has its name: from then on another process may delete it to make room.
    """
    draft = path.with_suffix(".draft")  # one writer at a time; what a killed one left is written over
    try:
        with draft.open("wb") as file:
            write(file)
        found = _mapped(draft)
        draft.replace(path)
        return found
    finally:
        draft.unlink(missing_ok=True)


def _mapped(path: Path) -> np.ndarray:
    """An array on disk, without a copy.

    Raises:
        FileNotFoundError: It is not there.
        EOFError: It is empty.
        ValueError: It is no array, or shorter than its header says.
    """
    found: np.ndarray = np.load(path, mmap_mode="r")  # which refuses pickles
    return found


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process of this machine at a time; the lock goes with its holder, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
