"""A download under way, kept on the local disk so that the next try reads on where this one ended.

Two files: the bytes so far, and a state that tells of which version they are. The state is locked while somebody works
on it, so that two tries at one item never write the same file: the second one works on a file of its own.
"""

import contextlib
import fcntl
import json
import os
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from mien.errors import StorageError
from mien.storage.local import SCRATCH, translated
from mien.storage.uri import canonical, is_bucket

_BYTES, _STATE = ".part", ".state"


class Version(NamedTuple):
    """What a server says of the file that it sends."""

    validator: str = ""
    """A strong ETag or the time of the last change: what `If-Range` may carry. Empty where the server gives neither."""
    size_bytes: int | None = None
    """Of the whole file."""

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """What `Partial` wrote; of damaged text, a version that nothing is known of."""
        try:
            values = json.loads(text)
            size = values["size_bytes"]
            return cls(str(values["validator"]), None if size is None else int(size))
        except (ValueError, KeyError, TypeError):
            return cls()


class Partial:
    """The bytes of one download so far."""

    def __init__(self, path: Path, state: IO[bytes] | None) -> None:
        """Bytes at `path`; without a state nothing is left for a later try."""
        self.path = path
        self._state = state
        self.version = Version.parse(state.read()) if state else Version()

    @property
    def size_bytes(self) -> int:
        """How much is there."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def is_published(self) -> bool:
        """Whether the file has a second name already, below the output: it is whole, and must not be written to."""
        return self.path.exists() and self.path.stat().st_nlink > 1

    def restart(self, version: Version = Version()) -> None:  # noqa: B008  an immutable tuple
        """Begin again: with a new file, since the old one may have a name below the output by now."""
        self.path.unlink(missing_ok=True)
        self.note(version)

    def note(self, version: Version) -> None:
        """Keep what is known of the version that the bytes are of."""
        self.version = version
        if self._state:
            self._state.seek(0)
            self._state.truncate()
            self._state.write(json.dumps(version._asdict()).encode())
            self._state.flush()

    def append(self) -> IO[bytes]:
        """The file, open for more bytes at its end.

        Raises:
            ValueError: It is published.
        """
        if self.is_published:
            raise ValueError(f"{self.path}: is published, and what is published does not change")
        return self.path.open("ab")

    def remove(self) -> None:
        """Forget it; the lock stays until the end of the block."""
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(_STATE).unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path, key: str) -> Iterator[Partial]:
    """The partial download of an item, for this process alone; a fresh one if somebody else is at work on it.

    Raises:
        StorageError: The folder cannot be written.
    """
    with translated(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = _locked(folder / f"{key}{_STATE}")
    partial = Partial(folder / f"{key if state else uuid.uuid4().hex}{_BYTES}", state)
    try:
        yield partial
    finally:
        if state:
            state.close()
        else:
            partial.remove()


def _locked(path: Path) -> IO[bytes] | None:
    """The state file, open and locked; None if somebody else holds it."""
    while True:
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        if _is_at(file, path):  # else its last holder removed it between our opening and our lock
            file.seek(0)
            return file
        file.close()


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def clear_stale(folder: Path, max_age_s: float) -> int:
    """Remove what nobody has worked on for so long, and what a killed try without a lock left; returns the bytes."""
    oldest, freed = time.time() - max_age_s, 0
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        with contextlib.suppress(FileNotFoundError):  # its own task was faster
            info = path.stat()
            if not stat.S_ISREG(info.st_mode) or _changed_at(path) > oldest:
                continue
            lock = _locked(path.with_suffix(_STATE))
            if lock:
                freed += info.st_size
                path.unlink()
                path.with_suffix(_STATE).unlink(missing_ok=True)
                lock.close()
    return freed


def _changed_at(path: Path) -> float:
    """Unix time at which anything of the same download was written last."""
    changed = 0.0
    for other in (path, path.with_suffix(_BYTES), path.with_suffix(_STATE)):
        with contextlib.suppress(FileNotFoundError):
            changed = max(changed, other.stat().st_mtime)
    return changed


def scratch_for(output: str, chosen: str, key: str) -> Path:
    """The folder of partial downloads on this machine, which later runs find again.

    Below an output that is a folder, so that publishing is one link; else in the temporary folder, readable by this
    user alone. `key` names the output there.

    Raises:
        StorageError: The folder is another user's.
    """
    if chosen:
        return Path(canonical(chosen)) / f"mien-{key}"
    if not is_bucket(output):
        return Path(canonical(output)) / SCRATCH / "ingest"
    folder = Path(tempfile.gettempdir()) / f"mien-ingest-{os.getuid()}"
    with translated(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        info: Any = folder.lstat()
    if info.st_uid != os.getuid() or not stat.S_ISDIR(info.st_mode):
        raise StorageError(f"{folder}: belongs to somebody else; set scratch to a folder of your own")
    return folder / key
