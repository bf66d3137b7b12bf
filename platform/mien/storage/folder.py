"""A folder of files that belong together, given its place whole or not at all; and whether a name is taken."""

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from mien.errors import StorageError
from mien.storage.local import LocalStore, translated
from mien.storage.uri import Store


def has(store: Store, name: str) -> bool:
    """Whether a file or object of that name is there, without reading it or its neighbours."""
    if isinstance(store, LocalStore):
        try:
            return store.fetch(name).is_file()
        except StorageError:
            return False
    return next((entry.name for entry in store.list(name)), "") == name  # the shortest of those that begin so


def publish_folder(store: Store, folder: Path, name: str, last: str) -> None:
    """Give a finished local folder a place, in place of what is there; the folder is moved or emptied.

    On a disk it appears at once. A bucket has no such step: there the file `last` is gone first and comes last, and who
    wants to know whether the rest is whole asks for it; what the old folder had and the new one lacks is deleted.

    Args:
        store: Where it goes; on a disk the folder comes from its `scratch`.
        folder: Files without folders.
        name: Its place below the store.
        last: Name of the file that says that the others are there.

    Raises:
        StorageError: The store refused; in a bucket, what was put is deleted again as far as it lets us.
    """
    if isinstance(store, LocalStore):
        _rename(folder, store.root / name)
        return
    ordered = sorted(folder.iterdir(), key=lambda path: (path.name == last, path.name))
    files = {f"{name}/{path.name}": path for path in ordered}
    store.delete(f"{name}/{last}")
    try:
        for place, path in files.items():
            store.replace_file(path, place)
    except StorageError:
        with contextlib.suppress(StorageError):
            _delete(store, files)
        raise
    _delete(store, [entry.name for entry in store.list(f"{name}/") if entry.name not in files])


def _delete(store: Store, names: Iterable[str]) -> None:
    for name in names:
        store.delete(name)


def _rename(folder: Path, final: Path) -> None:
    away = folder.with_name(f"{folder.name}.old")
    with translated(final):
        for path in folder.iterdir():
            _sync(path)
        _sync(folder)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.is_dir():
            final.rename(away)
        folder.rename(final)
        _sync(final.parent)
        shutil.rmtree(away, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
