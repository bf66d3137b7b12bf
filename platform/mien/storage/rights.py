"""Which rights a place gives us, tried one by one with a small object: sign in, list, write, read, delete."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mien.errors import MienError, PreflightError, StorageError
from mien.storage.uri import Store, is_bucket

PROBE = ".probe-"
_NEEDS = {"read": "write", "delete": "write"}
"""What can only be tried after something else."""
_CONTENT = b"mien"


class Right(NamedTuple):
    """One thing that was tried."""

    name: str
    state: str
    """ok, missing, or untried: it needs one that is missing."""
    found: str
    """What is there, or what is wrong and what to do."""


def try_rights(store: Store) -> list[Right]:
    """Try every right by a probe of four bytes, which is left behind only where deleting is forbidden."""
    return list(_tried(store))


def require_all(found: list[Right], output: str) -> None:
    """Every right must be there.

    Raises:
        PreflightError: One is missing.
    """
    missing = [right for right in found if right.state == "missing"]
    if missing:
        raise PreflightError(f"output={output}: {missing[0].name}: {missing[0].found}")


def _tried(store: Store) -> Iterator[Right]:
    missing = set[str]()
    for name, trial in _trials(store).items():
        if _NEEDS.get(name) in missing:
            yield Right(name, "untried", f"needs {_NEEDS[name]}")
            missing.add(name)
            continue
        try:
            yield Right(name, "ok", trial())
        except (MienError, OSError) as error:
            missing.add(name)
            yield Right(name, "missing", " ".join(str(error).split()))


def _trials(store: Store) -> dict[str, Callable[[], str]]:
    probe = f"{PROBE}{uuid.uuid4().hex}"  # a new name each time: replacing needs the right to delete
    return {
        "auth": lambda: _who(store),
        "list": lambda: _list(store),
        "write": lambda: _write(store, probe),
        "read": lambda: _read(store, probe),
        "delete": lambda: _delete(store, probe),
    }


def _who(store: Store) -> str:
    """Region and project of a bucket, or the user who owns this process."""
    if not is_bucket(store.uri):
        return f"user {os.geteuid()}, {free_gb(store.uri):.0f} GB free"
    from mien.storage.gcs import GcsStore
    from mien.storage.gcs_client import client

    client()
    return GcsStore(store.uri).about()


def free_gb(place: str) -> float:
    """Free space of the disk that a local folder, which need not be there yet, lies on."""
    folder = Path(place)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e9


def _list(store: Store) -> str:
    first = next(store.list(), None)
    return "nothing there yet" if first is None else f"begins with {first.name}"


def _write(store: Store, probe: str) -> str:
    store.put_new(probe, _CONTENT)
    return f"{len(_CONTENT)} bytes"


def _read(store: Store, probe: str) -> str:
    if store.read(probe) != _CONTENT:
        raise StorageError(f"{store.uri}/{probe}: what was written reads back differently")
    return "the same bytes"


def _delete(store: Store, probe: str) -> str:
    store.delete(probe)
    return "gone"
