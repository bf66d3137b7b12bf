"""Which files are the videos: a folder, one file, a glob pattern or a list, in a fixed order."""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pydantic import field_validator

from mien.clips.clip import Source
from mien.clips.naming import GLOB, root_of
from mien.clips.rows import READERS
from mien.clips.source_list import Skipped as Skipped
from mien.clips.source_list import is_list, listed
from mien.config import Config
from mien.errors import PreflightError, StorageError
from mien.storage.local import translated
from mien.storage.uri import GCS, Entry, canonical, is_bucket


class SourcesConfig(Config):
    """Which files count as videos and who is in them."""

    suffixes: tuple[str, ...] = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mts")
    """Endings, in any case, by which a file of a folder is taken for a video."""

    subject_pattern: str | None = None
    """Regular expression searched in the file's name without ending; its first group is the subject."""

    @field_validator("subject_pattern")
    @classmethod
    def _must_compile(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"is not a regular expression: {error}") from None
            if groups < 1:
                raise ValueError("needs one group, such as (s[0-9]+)")
        return pattern


def names_root(place: str, config: SourcesConfig) -> str:
    """What the names in lists, annotations and corpora are relative to: the folder or prefix of the sources."""
    return root_of(place, (*config.suffixes, *READERS))


def find_videos(place: str, config: SourcesConfig) -> Iterator[Source | Skipped]:
    """Every video of a folder (with its sub-folders), of a glob pattern, of a list, or the one file named.

    A video that is named outright is taken whatever its ending: what is wrong with it shows when it is opened. A name
    that ends in .txt, .csv, .jsonl or .parquet is a list, see `mien.clips.source_list`.

    Raises:
        PreflightError: There is nothing at the place, or it may not be read.
        ConfigError: A list is damaged; its line is named.
    """
    try:
        with translated(place):
            yield from _find(place, config)
    except StorageError as error:
        raise PreflightError(f"source: {error}") from None


def _find(place: str, config: SourcesConfig) -> Iterator[Source | Skipped]:
    if is_list(place):
        found = listed(canonical(place), names_root(place, config))
        yield from (_with_subject(each, config) if isinstance(each, Source) else each for each in found)
        return
    if is_bucket(place):
        yield from _in_bucket(canonical(place), config)
        return
    root = Path(canonical(place))
    if root.is_dir():
        yield from _in_folder(root, config)
    elif root.exists():
        yield _source_or_skipped(root, config)
    elif GLOB.search(place):
        yield from _by_pattern(root, config)
    else:
        raise PreflightError(f"{place}: does not exist; give a folder of videos, a video or a pattern as source=PLACE")


def _in_bucket(place: str, config: SourcesConfig) -> Iterator[Source | Skipped]:
    """Objects below a prefix, of a pattern, or the one named; in the order of their names."""
    from mien.storage.gcs import GcsStore

    bucket, _, name = place.removeprefix(GCS).partition("/")
    store, num_found = GcsStore(GCS + bucket), 0
    is_pattern = bool(GLOB.search(name))
    for entry in store.glob(name) if is_pattern else store.list(name):
        is_named = entry.name == name
        if not (is_pattern or is_named or entry.name.startswith(f"{name}/" if name else "")):
            continue  # another name that begins alike
        num_found += 1
        yield _object(store.uri, entry, config, is_named and not is_pattern)
    if not num_found and not is_pattern:
        raise PreflightError(f"{place}: holds nothing; give a prefix with videos, a video or a pattern as source=PLACE")


def _object(bucket: str, entry: Entry, config: SourcesConfig, is_named: bool) -> Source | Skipped:
    uri, path = f"{bucket}/{entry.name}", PurePosixPath(entry.name)
    if not uri.isprintable():
        return Skipped(ascii(uri), "its name has unprintable characters; rename it")
    if not is_named and path.suffix.lower() not in config.suffixes:
        return Skipped(uri, "not a video by its ending")
    return Source(uri, entry.size_bytes, entry.generation, _subject(path.stem, config))


def _with_subject(source: Source, config: SourcesConfig) -> Source:
    return source._replace(subject=source.subject or _subject(PurePosixPath(source.uri).stem, config))


def _subject(stem: str, config: SourcesConfig) -> str:
    match = re.search(config.subject_pattern, stem) if config.subject_pattern else None
    return (match[1] or "") if match else ""


def _in_folder(root: Path, config: SourcesConfig) -> Iterator[Source | Skipped]:
    """Depth first, by name; hidden ones are passed over, links to folders are not followed."""
    with translated(root):
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _in_folder(Path(entry.path), config)
        else:
            yield _taken_or_skipped(Path(entry.path), config)


def _by_pattern(pattern: Path, config: SourcesConfig) -> Iterator[Source | Skipped]:
    fixed = next(parent for parent in pattern.parents if not GLOB.search(str(parent)))
    for path in sorted(fixed.glob(str(pattern.relative_to(fixed)))):
        is_hidden = any(part.startswith(".") for part in path.relative_to(fixed).parts)
        if not is_hidden:
            yield _taken_or_skipped(path, config)


def _taken_or_skipped(path: Path, config: SourcesConfig) -> Source | Skipped:
    if not path.is_file():
        return Skipped(str(path), "is no file, or a link that leads to none")
    if path.suffix.lower() not in config.suffixes:
        return Skipped(str(path), "not a video by its ending")
    return _source_or_skipped(path, config)


def _source_or_skipped(path: Path, config: SourcesConfig) -> Source | Skipped:
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return Skipped(str(path), "its name is not UTF-8; rename it")
    return _source(path, config)


def _source(path: Path, config: SourcesConfig) -> Source:
    with translated(path):
        stat = path.stat()
    return Source(str(path), stat.st_size, stat.st_mtime_ns, _subject(path.stem, config))
