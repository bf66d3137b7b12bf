"""A file from an http(s) address onto the local disk: read on where it was cut, tried again, and told why not.

Bytes of two versions of a file are never mixed: a range is asked for under `If-Range`, and what came before is dropped
where the server has another version, ignores ranges, or gives nothing to tell versions by and no sum is promised.
No message holds a query, a user or a password of an address (`mien.log.redacted`), nor what a library says of one.
"""

import email.utils
import random
import re
import shutil
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import requests
from pydantic import Field

from mien import __version__
from mien.config import Config
from mien.errors import DownloadError, NoSpace
from mien.log import redacted
from mien.storage.answers import Again, look_up, require_file, say
from mien.storage.local import translated
from mien.storage.partial import Partial, Version
from mien.storage.sums import Sums, stated

MAX_REDIRECTS = 5
_CHUNK_BYTES = 256 << 10
_LOOK_EVERY_BYTES = 16 << 20
"""Free space is looked at so often."""
_REDIRECTS = {301, 302, 303, 307, 308}
_RANGE = re.compile(r"bytes (?P<start>\d+)-\d+/(?P<size>\d+|\*)")

Watch = Callable[[int, int | None], None]
"""(bytes that are there, bytes of the whole file if known) -> nothing; called for every chunk."""


class DownloadConfig(Config):
    """How patient a download is."""

    max_tries: int = Field(5, ge=1, le=100)
    """Tries in a row that bring no byte, before an item is given up."""

    first_wait_s: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Wait before the second try; it doubles with each further one."""

    max_wait_s: float = Field(120.0, ge=0, allow_inf_nan=False)
    """Longest wait. A server that asks for a longer one (Retry-After) is not waited for."""

    timeout_s: float = Field(30.0, gt=0, allow_inf_nan=False)
    """Silence on one connection that counts as a cut."""

    max_item_s: float = Field(24 * 3600.0, gt=0, allow_inf_nan=False)
    """What one item may take in all."""

    max_item_gb: float = Field(1000.0, gt=0, allow_inf_nan=False)
    """What one item may hold."""

    keep_partial_h: float = Field(24.0, ge=0, allow_inf_nan=False)
    """Partial downloads that nobody worked on for so long are removed."""


class Fetched(NamedTuple):
    """How a download went."""

    received_bytes: int
    """That came over the network, those that were dropped again included."""
    resumed_bytes: int
    """Of the file, that were there already when a connection went on from them."""
    num_tries: int
    stated: Sums
    """What the server says of the whole file."""


class Downloader:
    """Fetches files; one at a time."""

    def __init__(
        self, config: DownloadConfig, min_free_bytes: int = 0, wait: Callable[[float], None] = time.sleep
    ) -> None:
        """`min_free_bytes` stay free on the disk; `wait` waits so many seconds."""
        self._config, self._min_free_bytes, self._wait = config, min_free_bytes, wait

    def fetch(self, url: str, partial: Partial, sums: Sums = Sums(), watch: Watch = lambda *_: None) -> Fetched:  # noqa: B008  an immutable tuple
        """Bring a partial download to its end; its content is not compared with the sums yet.

        Args:
            url: http or https.
            partial: Bytes of earlier tries, and the place for more.
            sums: What is promised: a wrong size is told before anything is read.
            watch: Told how far it is.

        Raises:
            DownloadError: It cannot be had. What came stays for a later run, if it may be of use.
            NoSpace: The disk is full.
        """
        with requests.Session() as session:
            return _Download(self, session, url, partial, sums).run(watch)

    @property
    def config(self) -> DownloadConfig:
        """How patient it is."""
        return self._config

    def wait(self, num_failed: int, asked_s: float | None) -> bool:
        """Wait before the next try, as long as the server asks; False if that is too long."""
        config = self._config
        if asked_s is not None and asked_s > config.max_wait_s:
            return False
        doubled_s = min(config.max_wait_s, config.first_wait_s * 2 ** max(0, num_failed - 1))
        spread_s = doubled_s * random.uniform(0.5, 1.0)  # noqa: S311  many tasks must not come back at once
        self._wait(max(spread_s, asked_s or 0.0))
        return True

    def require_room(self, folder: Path, num_bytes: int, name: str) -> None:
        """Make sure that so much more can be written.

        Raises:
            NoSpace: The disk is full as it is.
            DownloadError: The item is too large for what is free.
        """
        with translated(folder):
            free = shutil.disk_usage(folder).free
        asked = f"{self._min_free_bytes / 1e9:g} GB are to stay free (min_free_gb)"
        if free < max(1, self._min_free_bytes):
            raise NoSpace(
                f"{folder}: only {free / 1e9:.2f} GB are free, {asked}; free some, and the same command resumes"
            )
        if free - num_bytes < self._min_free_bytes:
            raise DownloadError(
                f"{name}: {num_bytes / 1e9:.3g} GB more do not fit: {free / 1e9:.3g} GB are free in {folder}, {asked}; "
                "free some, or name a larger disk as scratch"
            )


class _Download:
    """One item: tries until it is whole."""

    def __init__(self, own: Downloader, session: requests.Session, url: str, partial: Partial, sums: Sums) -> None:
        self._own, self._session, self._url, self._partial, self._sums = own, session, url, partial, sums
        self._name = redacted(url)
        self._received = self._resumed = self._num_tries = 0
        self._stated = Sums()
        self._until = time.monotonic() + own.config.max_item_s

    def run(self, watch: Watch) -> Fetched:
        num_failed, reason = 0, ""
        while not self._partial.is_published:
            before = self._partial.size_bytes
            self._num_tries += 1
            try:
                self._try(watch)
                break
            except Again as again:
                num_failed = 0 if self._partial.size_bytes > before else num_failed + 1
                reason, asked_s = str(again), again.after_s
            if num_failed >= self._own.config.max_tries:
                tries = f"{num_failed} {'try' if num_failed == 1 else 'tries'} in a row"
                raise DownloadError(f"{self._name}: {reason} ({tries}); the same command goes on")
            if not self._own.wait(num_failed, asked_s):
                raise DownloadError(f"{self._name}: {reason} and asks to wait {asked_s:.0f} s; try again later")
        return Fetched(self._received, self._resumed, self._num_tries, self._stated)

    def _try(self, watch: Watch) -> None:
        """One request, from the first missing byte on."""
        start = self._start()
        headers = {"Accept-Encoding": "identity", "User-Agent": f"mien/{__version__}"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if self._partial.version.validator:
                headers["If-Range"] = self._partial.version.validator
        with self._open(headers) as response:
            if self._is_whole(response, start):
                return
            if not self._goes_on(response, start):
                self._begin(response)
            self._require_sense(response)
            try:
                self._read(response, watch)
            except Again as again:
                size = self._partial.version.size_bytes
                raise Again(f"{again} after {self._partial.size_bytes} of {size or 'unknown'} bytes") from None
        self._require_end()

    def _start(self) -> int:
        """Bytes that may be kept: those of a version that can be told, or that a sum will prove."""
        is_safe = self._partial.version.validator or self._sums.is_content
        if not is_safe and self._partial.size_bytes:
            self._partial.restart()
        return self._partial.size_bytes

    def _open(self, headers: Mapping[str, str]) -> requests.Response:
        """The answer, after at most five redirects between http(s) addresses.

        Raises:
            Again: It may come right.
            DownloadError: It will not.
        """
        url, timeout_s = self._url, self._own.config.timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            with say(self._name, timeout_s):
                response = self._session.get(
                    url, headers=dict(headers), stream=True, allow_redirects=False, timeout=(timeout_s, timeout_s)
                )
            if response.status_code not in _REDIRECTS:
                try:
                    look_up(response, self._name, self._url)
                except (Again, DownloadError):
                    response.close()
                    raise
                return response
            url = self._next(url, response)
            response.close()
        raise DownloadError(f"{self._name}: leads on more than {MAX_REDIRECTS} times; give the address it ends at")

    def _next(self, url: str, response: requests.Response) -> str:
        following = urllib.parse.urljoin(url, response.headers.get("Location", ""))
        scheme = urllib.parse.urlsplit(following).scheme
        is_weaker = url.startswith("https:") and scheme != "https"
        if scheme not in {"http", "https"} or is_weaker:
            raise DownloadError(f"{self._name}: leads to {redacted(following):.200}, which is not followed")
        return following

    def _is_whole(self, response: requests.Response, start: int) -> bool:
        """Whether the server says that nothing is missing; else an answer of 416 means that what is there is wrong."""
        if response.status_code != requests.codes.requested_range_not_satisfiable:
            return False
        size = response.headers.get("Content-Range", "").removeprefix("bytes */")
        if start and size == str(start) and self._sums.size_bytes in (None, start):
            return True
        self._partial.restart()
        raise Again("its server has fewer bytes than before")

    def _goes_on(self, response: requests.Response, start: int) -> bool:
        """Whether the answer continues what is there."""
        if response.status_code != requests.codes.partial_content:
            return False
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        size = int(found["size"]) if found and found["size"] != "*" else None
        same = validator(response.headers) == self._partial.version.validator
        known = self._partial.version.size_bytes
        if not start or not found or int(found["start"]) != start or not same or known not in (None, size):
            self._partial.restart()
            raise Again("its server answers with another part, or of another version, than it was asked for")
        self._partial.note(self._partial.version._replace(size_bytes=size))
        self._resumed += start
        self._stated = stated(response.headers)
        return True

    def _begin(self, response: requests.Response) -> None:
        length = response.headers.get("Content-Length", "")
        self._partial.restart(Version(validator(response.headers), int(length) if length.isdecimal() else None))
        self._stated = stated(response.headers)

    def _require_sense(self, response: requests.Response) -> None:
        """What can be known before the first byte: a page, a coding, a size that is not the promised one, no room."""
        require_file(response, self._name, self._url)
        size = self._partial.version.size_bytes
        if self._sums.size_bytes is not None and size not in (None, self._sums.size_bytes):
            raise DownloadError(
                f"{self._name}: has {size} bytes, promised are {self._sums.size_bytes}; correct the list, or get a "
                "link to the right file"
            )
        if (size or 0) > self._own.config.max_item_gb * 1e9:
            raise DownloadError(f"{self._name}: has {size} bytes; raise download.max_item_gb if that is right")
        num_left = (size or 0) - self._partial.size_bytes
        self._own.require_room(self._partial.path.parent, num_left, self._name)

    def _read(self, response: requests.Response, watch: Watch) -> None:
        """Append what comes."""
        there, size = self._partial.size_bytes, self._partial.version.size_bytes
        unseen, most = 0, self._own.config.max_item_gb * 1e9
        watch(there, size)
        with (
            translated(self._partial.path),
            self._partial.append() as file,
            say(self._name, self._own.config.timeout_s),
        ):
            while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=False):  # what is there: a cut loses nothing
                file.write(chunk)
                file.flush()  # a process that is killed loses none of it
                there, unseen = there + len(chunk), unseen + len(chunk)
                self._received += len(chunk)
                watch(there, size)
                if unseen >= _LOOK_EVERY_BYTES:
                    self._own.require_room(self._partial.path.parent, 0, self._name)
                    unseen = 0
                if there > most:
                    raise DownloadError(f"{self._name}: is larger than download.max_item_gb; raise it if that is right")
                if time.monotonic() > self._until:
                    raise DownloadError(
                        f"{self._name}: takes longer than download.max_item_s; the same command goes on"
                    )
        if size is None and self._sums == Sums() and not _is_chunked(response):
            raise DownloadError(
                f"{self._name}: its server does not say how long it is, so that a cut would not show; "
                "give size_bytes or a sum in the list"
            )

    def _require_end(self) -> None:
        """Whether all of it came.

        Raises:
            Again: The connection was cut.
        """
        size = self._partial.version.size_bytes
        if size is None:
            size = self._sums.size_bytes
        there = self._partial.size_bytes
        if size is not None and there < size:
            raise Again(f"the connection was cut after {there} of {size} bytes")
        if size is not None and there > size:
            self._partial.restart()
            raise Again(f"its server sends more than the {size} bytes that are right")


def _is_chunked(response: requests.Response) -> bool:
    """Whether the end of the answer is marked, so that a cut one is an error of the connection."""
    return response.headers.get("Transfer-Encoding", "").lower() == "chunked"


def validator(headers: Mapping[str, str]) -> str:
    """What tells this version of a file from others in `If-Range` (RFC 9110, 13.1.5): a strong ETag, or a date."""
    etag = headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    date = headers.get("Last-Modified", "")
    return date if email.utils.parsedate_tz(date) else ""
