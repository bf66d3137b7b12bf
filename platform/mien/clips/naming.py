"""How a list, an annotation or a corpus names a video, and the place that it means."""

import os
import posixpath
import re
from functools import lru_cache
from pathlib import Path, PurePosixPath

from mien.storage.tar import is_tar, split_member
from mien.storage.uri import canonical, is_bucket

GLOB = re.compile(r"[*?\[]")
"""What makes a place a pattern."""


def root_of(place: str, file_suffixes: tuple[str, ...]) -> str:
    """What names are relative to: the folder, prefix or tar itself, the fixed part of a pattern, the folder of a file.

    Args:
        place: Sources, as a person gives them.
        file_suffixes: Endings by which a place in a bucket is taken for one object.
    """
    where = canonical(place)
    parts = where.split("/")
    fixed = next((number for number, part in enumerate(parts) if GLOB.search(part)), None)
    if fixed is not None and (is_bucket(where) or not Path(where).exists()):
        return "/".join(parts[:fixed])
    if is_tar(where):
        return where
    is_file = PurePosixPath(where).suffix.lower() in file_suffixes if is_bucket(where) else Path(where).is_file()
    return where.rpartition("/")[0] if is_file else where


def located(name: str, root: str) -> str:
    """The place of a video, spelled as the sources are: an absolute name as it is, another one below the root."""
    if is_bucket(name):
        return name
    if name.startswith("file://"):
        name = name.removeprefix("file://")
    if name.startswith(("/", "~")):
        folder, _, last = name.rpartition("/")
        return f"{_resolved(folder).rstrip('/')}/{last}"
    if is_bucket(root):
        return f"{root}/{posixpath.normpath(name)}"
    return os.path.normpath(f"{root}/{name}")


def as_named(uri: str) -> str:
    """A source as a person names it: a member of a tar is a name below that tar, wherever its bytes lie in it."""
    packed = split_member(uri)
    return f"{packed.tar}/{posixpath.normpath(packed.name)}" if packed else uri


@lru_cache(maxsize=4096)
def _resolved(folder: str) -> str:
    """A folder without links: asking the file system for each of a million names would take a minute."""
    return canonical(folder or "/")
