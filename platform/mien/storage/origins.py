"""Where an item comes from: a web address, an object of a bucket or a file; all of them end as a partial download."""

import os
import urllib.parse
from pathlib import Path

from mien.errors import ConfigError, DownloadError, StorageError
from mien.log import printable, redacted
from mien.storage.answers import require_no_page
from mien.storage.download import Downloader, Fetched, Watch
from mien.storage.local import translated
from mien.storage.partial import Partial, Version
from mien.storage.sums import Sums
from mien.storage.uri import GCS, canonical, is_bucket

WEB = ("http://", "https://")
_SIGNS = ("x-goog-", "x-amz-", "_nc_")
_SIGNED = {
    *("expires", "signature", "key-pair-id", "policy", "googleaccessid", "awsaccesskeyid", "token", "sig", "se", "st"),
    *("sp", "sv", "sr", "spr", "skoid", "sktid", "skt", "ske", "sks", "skv", "oh", "oe", "ccb"),
}
"""Parts of a query that sign it: they change with every new link to the same file."""
_START_BYTES = 512
_COPY_BYTES = 1 << 20


def is_web(url: str) -> bool:
    """Whether it is fetched over http(s)."""
    return url.lower().startswith(WEB)


def require_address(url: str, folder: Path) -> str:
    """An address in the form in which it is fetched; a relative path is one below the folder.

    Raises:
        ValueError: It is none that can be fetched; the message holds nothing of a query.
    """
    if not url:
        raise ValueError("has no url")
    if not url.isprintable() or (is_web(url) and " " in url):
        raise ValueError(
            f"url {printable(redacted(url.partition('?')[0]))!r:.200} has blanks or unprintable characters"
        )
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme in {"http", "https"}:
        return _require_web(url)
    if scheme not in {"", "file", "gs"}:
        raise ValueError(f"url {url.partition('?')[0]!r:.200}: give http://, https://, gs://, file:// or a local path")
    try:
        if scheme == "gs":
            return canonical(url)
        path = Path(urllib.parse.unquote(url[len("file://") :]) if scheme else url).expanduser()
        return canonical(str(folder / path))
    except (ConfigError, RuntimeError) as error:
        raise ValueError(str(error)) from None


def _require_web(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        is_fine = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_fine = False
    if not is_fine:
        raise ValueError(f"url {redacted(url)!r:.200} has no host, or a port that is none")
    return url


def name_in(url: str) -> str:
    """The last part of an address's path, without query; empty if it ends with a slash."""
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path) if is_web(url) else url
    return path.rpartition("/")[2]


def unsigned(url: str) -> str:
    """An address without what signs it or who asks: two links to the same file give the same."""
    if not is_web(url):
        return url
    parts = urllib.parse.urlsplit(url)
    query = [(key, value) for key, value in urllib.parse.parse_qsl(parts.query, True) if not _is_signature(key.lower())]
    host = parts.netloc.rpartition("@")[2].lower()
    return urllib.parse.urlunsplit((parts.scheme.lower(), host, parts.path, urllib.parse.urlencode(query), ""))


def _is_signature(key: str) -> bool:
    return key in _SIGNED or key.startswith(_SIGNS)


def fetch(url: str, partial: Partial, sums: Sums, downloader: Downloader, watch: Watch) -> Fetched:
    """Bring an item onto the local disk, whole, as the partial's file.

    Raises:
        DownloadError: It cannot be had, or is a web page.
        StorageError: The local disk, or a bucket, refuses.
    """
    if is_web(url):
        fetched = downloader.fetch(url, partial, sums, watch)
        _require_no_page(partial, url)
        return fetched
    if not partial.is_published:
        partial.restart()
        (_fetch_object if is_bucket(url) else _copy_file)(url, partial, downloader, watch)
    return Fetched(partial.size_bytes, 0, 1, Sums())


def _require_no_page(partial: Partial, url: str) -> None:
    with partial.path.open("rb") as file:
        start = file.read(_START_BYTES)
    try:
        require_no_page(start, redacted(url), url)
    except DownloadError:
        partial.restart()
        raise


def _fetch_object(url: str, partial: Partial, downloader: Downloader, watch: Watch) -> None:
    """One generation of an object, checked by its sum."""
    from mien.storage.gcs import GcsStore

    bucket, _, name = url.removeprefix(GCS).partition("/")
    store = GcsStore(GCS + bucket)
    entry = store.stat(name)
    downloader.require_room(partial.path.parent, entry.size_bytes, url)
    watch(0, entry.size_bytes)
    store.download(name, partial.path, entry.generation)


def _copy_file(url: str, partial: Partial, downloader: Downloader, watch: Watch) -> None:
    """A copy, never a link: what is ingested must not change with the file it came from."""
    path = Path(url)
    with translated(path):
        before = path.stat()
    if not path.is_file():
        raise DownloadError(f"{url}: is no file; list its files one by one")
    downloader.require_room(partial.path.parent, before.st_size, url)
    partial.restart(Version("", before.st_size))
    watch(0, before.st_size)
    with translated(path), path.open("rb") as source, partial.append() as copy:
        while chunk := source.read(_COPY_BYTES):
            with translated(partial.path):
                copy.write(chunk)
            watch(copy.tell(), before.st_size)
        after = os.fstat(source.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise StorageError(f"{url}: changed while it was copied; the same command tries again")
