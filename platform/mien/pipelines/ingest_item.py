"""One item of a list, from its address to its place below the output: fetched, proved, published, recorded.

A plain callable. What it does is safe to do twice, at once or after a crash: a name below the output is given once, and
only to a whole file whose sums are right; the record comes after that.
"""

import functools
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from mien.config import Config
from mien.datasets.ingested import File, recorded, write_failure, write_record
from mien.datasets.links import REPORTS, Item
from mien.errors import AlreadyExists, ItemError, NoSpace, StorageError, Unavailable
from mien.pipelines.cap import memory_cap
from mien.storage import origins, partial
from mien.storage.commit import Digest, digest
from mien.storage.download import DownloadConfig, Downloader, Fetched
from mien.storage.partial import Partial
from mien.storage.sums import Sums, digest_at, holds
from mien.storage.unpack import ArchiveConfig, survey, unpacked
from mien.storage.uri import Store, canonical, is_bucket, open_store

DOWNLOADING, CHECKING, UNPACKING, PUBLISHING = "downloading", "checking", "unpacking", "publishing"
DONE, KEPT, FAILED = "done", "kept", "failed"

Watch = Callable[[str, int, int | None], None]
"""(what is being done, bytes so far, bytes in all if known) -> nothing."""


class ItemConfig(Config):
    """What the work on one item needs to know."""

    output: str = ""
    """Folder or gs:// prefix below which the files are put. A run needs it."""

    scratch: str = ""
    """Folder on the local disk of every machine for partial downloads; by default below an output that is a folder,
    else the temporary folder."""

    min_free_gb: float = Field(2.0, ge=0, allow_inf_nan=False)
    """Space that stays free on the disk of the partial downloads; a run ends, resumable, when it is used up."""

    download: DownloadConfig = DownloadConfig()
    """How patient a download is."""

    archives: ArchiveConfig = ArchiveConfig()
    """What an archive may be at most."""

    @property
    def folder(self) -> Path:
        """Where this machine keeps partial downloads for the output."""
        key = hashlib.sha256(canonical(self.output).encode()).hexdigest()[:16]
        return partial.scratch_for(self.output, self.scratch, key)


class Outcome(NamedTuple):
    """How the work on one item ended."""

    state: str
    """done; kept: it was there already; or failed."""
    error: str = ""


def ingest(item: Item, config: ItemConfig, watch: Watch = lambda *_: None) -> Outcome:
    """Bring one item to its place and record it; a failure is recorded too.

    Raises:
        Unavailable: A bucket does not answer; nothing is wrong with the item.
        NoSpace: The disk is full; nothing is wrong with the item.
    """
    store, started = open_store(config.output), time.monotonic()
    facts: dict[str, Any] = {"url": item.shown, "target": item.target}
    try:
        state, files = _bring(item, config, store, facts, watch)
        facts |= {"seconds": time.monotonic() - started, "ended_at": time.time()}
        write_record(store, item, files, facts)
        _clean(item, config)
        return Outcome(state)
    except (Unavailable, NoSpace):
        raise
    except (ItemError, StorageError) as error:
        said = " ".join(str(error).split())
        facts |= {"seconds": time.monotonic() - started, "ended_at": time.time()}
        write_failure(store, item, {**facts, "error_type": type(error).__name__, "error": said})
        return Outcome(FAILED, said)


def _bring(item: Item, config: ItemConfig, store: Store, facts: dict[str, Any], watch: Watch) -> tuple[str, list[File]]:
    """Everything but the record; what was learned is put into `facts`."""
    watch(CHECKING, 0, None)
    standing = None if item.unzip else _standing(item, store)
    if standing:
        facts |= {"sha256": standing.sha256, "crc32c": standing.crc32c}
        return KEPT, [standing]
    _clear_once(config.folder, config.download.keep_partial_h * 3600)
    with partial.held(config.folder, item.key) as part:
        downloader = Downloader(config.download, int(config.min_free_gb * 1e9))
        fetched = origins.fetch(item.url, part, item.sums, downloader, functools.partial(watch, DOWNLOADING))
        watch(CHECKING, 0, None)
        content = _proved(item, part, fetched)
        facts |= {"sha256": content.sha256, "crc32c": content.crc32c, "num_tries": fetched.num_tries}
        facts |= {"received_bytes": fetched.received_bytes, "resumed_bytes": fetched.resumed_bytes}
        if item.unzip:
            return DONE, _unpack(item, config, store, part.path, facts, watch)
        watch(PUBLISHING, 0, content.size_bytes)
        return DONE, [_publish(store, part.path, item.target, content)]


def _standing(item: Item, store: Store) -> File | None:
    """The file at the target, if it is what is wanted: as an earlier record has it, or as the list promises.

    Raises:
        ItemError: The list promises another content.
    """
    try:
        store.stat(item.target)
    except Unavailable:
        raise
    except StorageError:
        return None
    for file in recorded(store, item):
        if holds(store, item.target, file.digest):
            return File.of(store.stat(item.target), file.digest)
    if not (item.sums.sha256 or item.sums.crc32c):
        return None  # it is fetched, and then compared
    content = digest_at(store, item.target)
    for kind in ("size_bytes", "sha256", "crc32c"):
        if getattr(item.sums, kind) not in (None, "", getattr(content, kind)):
            raise _taken(store, item.target)
    return File.of(store.stat(item.target), content)


def _proved(item: Item, part: Partial, fetched: Fetched) -> Digest:
    """The content of what was fetched, held against what the list promises and what its server states.

    Raises:
        DownloadError: It differs; it is dropped.
    """
    content = digest(part.path)
    promised: tuple[Sums, ...] = (item.sums, fetched.stated)
    try:
        for sums in promised:
            sums.check(content, part.path, item.shown)
    except ItemError:
        part.restart()
        raise
    return content


def _publish(store: Store, path: Path, name: str, content: Digest) -> File:
    """Give a proved file its name; one of the same content that has it already is as good.

    Raises:
        ItemError: A file of other content has it.
    """
    try:
        store.publish(path, name)
    except AlreadyExists:
        if not holds(store, name, content):
            raise _taken(store, name) from None
    entry = store.stat(name)
    if entry.size_bytes != content.size_bytes:
        raise StorageError(f"{store.uri}/{name}: has {entry.size_bytes} bytes after {content.size_bytes} were written")
    return File.of(entry, content)


def _taken(store: Store, name: str) -> ItemError:
    return ItemError(f"{store.uri}/{name}: is there already with other content; move it away, or give another path")


def _unpack(
    item: Item, config: ItemConfig, store: Store, path: Path, facts: dict[str, Any], watch: Watch
) -> list[File]:
    """Publish every file of an archive, after all of it was read once; the disk holds one of them at a time."""
    watch(UNPACKING, 0, None)
    with memory_cap(int(config.archives.max_memory_gb * 1e9)):
        found = survey(path, item.shown, config.archives)
    facts["num_left_out"] = found.num_left_out
    downloader = Downloader(config.download, int(config.min_free_gb * 1e9))
    sizes = [member.digest.size_bytes for member in found.members]
    total = sum(sizes)
    downloader.require_room(path.parent, max(sizes) if is_bucket(store.uri) else total, item.shown)
    prefix = f"{item.target}/" if item.target else ""
    for member in found.members:
        if (prefix + member.name).startswith(REPORTS):
            raise ItemError(f"{item.shown}: {member.name!r} would lie in {REPORTS}, where the reports are; give a path")
    files, num_bytes = list[File](), 0
    for member in unpacked(path, item.shown, config.archives, path.with_suffix(".member")):
        watch(PUBLISHING, num_bytes, total)
        files.append(_publish(store, path.with_suffix(".member"), prefix + member.name, member.digest))
        num_bytes += member.digest.size_bytes
    return files


@functools.lru_cache(maxsize=16)
def _clear_once(folder: Path, max_age_s: float) -> None:
    """Once in every process: remove partial downloads that nobody came back for."""
    partial.clear_stale(folder, max_age_s)


def _clean(item: Item, config: ItemConfig) -> None:
    """Remove the partial download; only after the record, so that a crash between them costs no second download."""
    with partial.held(config.folder, item.key) as part:
        part.remove()
