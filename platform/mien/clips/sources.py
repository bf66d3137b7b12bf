"""Which files are the videos: a folder, one file, a glob pattern or a list, and tars in them, in a fixed order."""

import os
import re
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path, PurePath, PurePosixPath

from pydantic import field_validator

from mien.clips import tar_shards
from mien.clips.clip import Skipped, Source, from_labels, to_labels
from mien.clips.naming import GLOB, as_named, root_of
from mien.clips.rows import READERS
from mien.clips.source_list import is_list, listed
from mien.config import Config
from mien.errors import PreflightError, StorageError
from mien.storage.ahead import ahead
from mien.storage.local import translated
from mien.storage.tar import is_tar, split_member
from mien.storage.uri import GCS, Entry, canonical, is_bucket

_COMPRESSED_TAR = re.compile(r"\.(tgz|tbz2?|txz|tar\.(gz|bz2|xz|zst|lzma|lz4|z))$")


class SourcesConfig(Config):
    """Which files count as videos and who is in them."""

    suffixes: tuple[str, ...] = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mts")
    """Endings, in any case, by which a file of a folder, or a member of a .tar, is taken for a video."""

    subject_pattern: str | None = None
    """Regular expression searched in the file's name without ending; its first group is the subject. Where it finds
    none, the .json beside a video in a tar may tell: `{"subject": "anna", "age": 30}`."""

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
    """What the names in lists, annotations and corpora are relative to: the folder, prefix or tar of the sources."""
    return root_of(place, (*config.suffixes, *READERS))


def find_videos(place: str, config: SourcesConfig) -> Iterator[Source | Skipped]:
    """Every video of a folder (with its sub-folders), of a pattern or of a list, or the one file named; those in tars.

    A file that is named outright is taken whatever its ending: what is wrong with it shows when it is opened. A name
    that ends in .txt, .csv, .jsonl or .parquet is a list, see `mien.clips.source_list`. Tars are listed several at a
    time, since a bucket answers slowly.

    Raises:
        PreflightError: There is nothing at the place, or it may not be read.
        ConfigError: A list is damaged; its line is named.
    """
    for holds_tars, found in groupby(_found(place, config), _is_shard):
        if not holds_tars:
            yield from found
            continue
        shards = (shard for shard in found if isinstance(shard, Source))
        for members in ahead(partial(_in_shard, config=config), shards):
            yield from members


def first_video(place: str, config: SourcesConfig) -> Source | None:
    """The first video, looking no further; of a tar its first member, or the tar itself if it is damaged before that.

    Raises:
        PreflightError: There is nothing at the place, or it may not be read.
        ConfigError: A list is damaged; its line is named.
    """
    for found in _found(place, config):
        if isinstance(found, Source):
            video = tar_shards.first_in(_entry(found), config.suffixes) if is_tar(found.uri) else found
            if video is not None:
                return video
    return None


def _found(place: str, config: SourcesConfig) -> Iterator[Source | Skipped]:
    """Files and objects as they lie there, a tar as one."""
    try:
        with translated(place):
            yield from _find(place, config)
    except StorageError as error:
        raise PreflightError(f"source: {error}") from None


def _is_shard(found: Source | Skipped) -> bool:
    return isinstance(found, Source) and is_tar(found.uri)


def _entry(shard: Source) -> Entry:
    return Entry(shard.uri, shard.size_bytes, shard.generation)


def _in_shard(shard: Source, config: SourcesConfig) -> list[Source | Skipped]:
    """The videos of a tar: what a list says of the tar goes before their names, and their names before their .json."""
    members = list(tar_shards.sources_in(_entry(shard), config.suffixes))
    return [_named(member, shard, config) if isinstance(member, Source) else member for member in members]


def _named(member: Source, shard: Source, config: SourcesConfig) -> Source:
    subject = shard.subject or _subject(PurePosixPath(as_named(member.uri)), config) or member.subject
    labels = to_labels(from_labels(member.labels) | from_labels(shard.labels)) if shard.labels else member.labels
    return member._replace(subject=subject, labels=labels)


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
        yield _source_or_skipped(root, config, is_named=True)
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
        if {part for part in entry.name.split("/") if part.startswith(".")} - {*name.split("/")}:
            continue  # hidden, as in a folder
        num_found += 1
        yield _object(store.uri, entry, config, is_named and not is_pattern)
    if not num_found and not is_pattern:
        raise PreflightError(f"{place}: holds nothing; give a prefix with videos, a video or a pattern as source=PLACE")


def _object(bucket: str, entry: Entry, config: SourcesConfig, is_named: bool) -> Source | Skipped:
    uri, path = f"{bucket}/{entry.name}", PurePosixPath(entry.name)
    if not uri.isprintable():
        return Skipped(ascii(uri), "its name has unprintable characters; rename it")
    why = _why_not(uri, config, is_named)
    if why:
        return Skipped(uri, why)
    return Source(uri, entry.size_bytes, entry.generation, _subject(path, config))


def _why_not(place: str, config: SourcesConfig, is_named: bool) -> str:
    """Why a file or object is not taken, by its name alone; empty if it is."""
    name = PurePosixPath(place).name.lower()
    if split_member(place):
        return "its name reads like that of a member of a tar; rename it"
    if _COMPRESSED_TAR.search(name):
        return "is a compressed tar by its ending; unpack it to a plain .tar"
    is_video = is_named or is_tar(name) or PurePosixPath(name).suffix in config.suffixes
    return "" if is_video else "not a video by its ending"


def _with_subject(source: Source, config: SourcesConfig) -> Source:
    return source._replace(subject=source.subject or _subject(PurePosixPath(as_named(source.uri)), config))


def _subject(path: PurePath, config: SourcesConfig) -> str:
    if not config.subject_pattern or is_tar(path.name):  # the name of a tar says nothing of those in it
        return ""
    match = re.search(config.subject_pattern, path.stem)
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
    return _source_or_skipped(path, config, is_named=False)


def _source_or_skipped(path: Path, config: SourcesConfig, *, is_named: bool) -> Source | Skipped:
    why = _why_not(str(path), config, is_named)
    if why:
        return Skipped(str(path), why)
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return Skipped(str(path), "its name is not UTF-8; rename it")
    return _source(path, config)


def _source(path: Path, config: SourcesConfig) -> Source:
    with translated(path):
        stat = path.stat()
    return Source(str(path), stat.st_size, stat.st_mtime_ns, _subject(path, config))
