"""A folder as a store: write-once names by hard link, every file synced before its name appears."""

import contextlib
import errno
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from mien.errors import AlreadyExists, NoSpace, StorageError
from mien.log import printable
from mien.storage.uri import Entry

SCRATCH = ".scratch"
"""Folder of unfinished files below the root; no listing shows it."""

_REMEDY = {
    errno.ENOSPC: "no space left on the disk; free some and run the same command, it resumes",
    errno.EDQUOT: "the disk quota is used up; free some and run the same command, it resumes",
    errno.EROFS: "the file system is read-only; choose another output",
    errno.EACCES: "permission denied; check the owner and rights",
    errno.EPERM: "not permitted; check the owner and rights",
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "a part of the path is not a folder",
    errno.EISDIR: "is a folder",
}


@contextlib.contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Turn an OSError into a StorageError that names the path and the remedy."""
    try:
        yield
    except FileExistsError:
        raise AlreadyExists(f"{path}: exists already") from None
    except OSError as error:
        reason = _REMEDY.get(error.errno or 0, error.strerror or str(error))
        kind = NoSpace if error.errno in {errno.ENOSPC, errno.EDQUOT} else StorageError
        raise kind(f"{path}: {reason}") from error


class LocalStore:
    """Files below a folder, which is made on the first write."""

    def __init__(self, root: Path) -> None:
        """Take the root as it is; nothing is created."""
        self.root = root

    @property
    def uri(self) -> str:
        """Absolute path of the root."""
        return str(self.root)

    def put_new(self, name: str, data: bytes) -> None:
        """Write and sync a temporary file, then link it to the name: whole or not at all, first one wins."""
        with self._temporary(name, data) as (temporary, final):
            os.link(temporary, final)
            _sync_folder(final.parent)

    def replace(self, name: str, data: bytes) -> None:
        """Write and sync a temporary file, then rename it over the name."""
        with self._temporary(name, data) as (temporary, final):
            temporary.replace(final)
            _sync_folder(final.parent)

    def publish(self, path: Path, name: str) -> None:
        """Sync a finished file and link it to the name; copied first when it lies on another file system."""
        final = self._place(name)
        with translated(final):
            _make_folder(final.parent)
            _sync_file(path)
            try:
                os.link(path, final)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._copy_new(path, final)
            _sync_folder(final.parent)

    def _copy_new(self, path: Path, final: Path) -> None:
        temporary = final.parent / f".{uuid.uuid4().hex}.tmp"
        try:
            shutil.copyfile(path, temporary)  # never in memory: a film may be larger than that
            _sync_file(temporary)
            os.link(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)

    def replace_file(self, path: Path, name: str) -> None:
        """Move a finished file beside the name, sync it, and rename it over the name."""
        final = self.root / name
        temporary = final.parent / f".{uuid.uuid4().hex}.tmp"
        with translated(final):
            _make_folder(final.parent)
            try:
                shutil.move(path, temporary)  # a copy when it lies on another file system
                _sync_file(temporary)
                temporary.replace(final)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(final.parent)

    def read(self, name: str) -> bytes:
        """All bytes of one file."""
        path = self._place(name)
        with translated(path):
            return path.read_bytes()

    def fetch(self, name: str) -> Path:
        """The file itself."""
        path = self._place(name)
        with translated(path):
            is_there = path.is_file()
        if not is_there:
            raise StorageError(f"{path}: does not exist")
        return path

    def stat(self, name: str) -> Entry:
        """Size and modification time of one file."""
        path = self._place(name)
        with translated(path):
            stat = path.stat()
        return Entry(name, stat.st_size, stat.st_mtime_ns)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Files in sorted order; temporary ones are left out."""
        folder = self.root / prefix.rpartition("/")[0]
        for path in _walk(folder):
            name = path.relative_to(self.root).as_posix()
            if name.startswith(prefix):
                with translated(path):
                    stat = path.stat()
                yield Entry(name, stat.st_size, stat.st_mtime_ns)

    def delete(self, name: str) -> None:
        """Remove one file, if it is there."""
        path = self._place(name)
        with translated(path):
            path.unlink(missing_ok=True)

    def scratch(self) -> Path:
        """A new folder below the root, so that `publish` is one link."""
        parent = self.root / SCRATCH
        with translated(parent):
            _make_folder(parent)
            return Path(tempfile.mkdtemp(dir=parent))

    def clear_scratch(self) -> None:
        """Remove what killed writers left behind; only right when no writer can be alive."""
        shutil.rmtree(self.root / SCRATCH, ignore_errors=True)
        for path in self.root.rglob(f".{'[0-9a-f]' * 32}.tmp"):
            path.unlink(missing_ok=True)

    def _place(self, name: str) -> Path:
        """The path of a name, which may come from a stranger's index: it never leads out of the root.

        Raises:
            StorageError: It is absolute, goes up, or is no name at all.
        """
        parts = name.split("/")
        if {"", ".", ".."} & {*parts} or "\0" in name or re.search("[\ud800-\udc7f\udd00-\udfff]", name):
            raise StorageError(f"'{printable(name)}': is no name below {self.root}; what has it is no sound dataset")
        return self.root.joinpath(*parts)

    @contextlib.contextmanager
    def _temporary(self, name: str, data: bytes) -> Iterator[tuple[Path, Path]]:
        final = self._place(name)
        temporary = final.parent / f".{uuid.uuid4().hex}.tmp"
        with translated(final):
            _make_folder(final.parent)
            try:
                temporary.write_bytes(data)
                _sync_file(temporary)
                yield temporary, final
            finally:
                temporary.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it; a file in its place is an error like one above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    except FileNotFoundError:  # not for want of those above it, but by a file system such as /proc
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


def _walk(folder: Path) -> Iterator[Path]:
    """Visible files below a folder, depth first, sorted, without following links to folders."""
    if not folder.is_dir():
        return
    with translated(folder):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path)
        elif path.is_file():
            yield path


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself durable."""
    _sync_file(folder)
