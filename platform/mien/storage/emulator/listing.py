"""One page of a listing: prefix, delimiter, offsets, glob and paging over names in order."""

import base64
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mien.storage.emulator.messages import Request, bad_request

MAX_RESULTS = 1000
_GLOB = re.compile(r"\*\*|\*|\?|\[[^\]]+\]|\{[^}]*\}|.", re.DOTALL)


@dataclass(frozen=True)
class Listing:
    """What a client wants to see of a bucket."""

    prefix: str = ""
    delimiter: str = ""
    start_offset: str = ""
    end_offset: str = ""
    match_glob: str = ""
    include_trailing_delimiter: bool = False
    max_results: int = MAX_RESULTS
    page_token: str = ""

    @classmethod
    def of(cls, request: Request) -> "Listing":
        """That of a request's query.

        Raises:
            Refusal: 400 for a number below zero or none.
        """
        max_results = request.integer("maxResults") or MAX_RESULTS
        if max_results < 0:
            raise bad_request(f"maxResults: {max_results} is below zero")
        return cls(
            prefix=request.get("prefix"),
            delimiter=request.get("delimiter"),
            start_offset=request.get("startOffset"),
            end_offset=request.get("endOffset"),
            match_glob=request.get("matchGlob"),
            include_trailing_delimiter=request.get("includeTrailingDelimiter") == "true",
            max_results=min(max_results, MAX_RESULTS),
            page_token=request.get("pageToken"),
        )

    def has(self, name: str) -> bool:
        """Whether a name is wanted, as far as the glob says."""
        return not self.match_glob or glob_pattern(self.match_glob).fullmatch(name) is not None

    def is_past(self, name: str) -> bool:
        """Whether this name and all after it are none of the listing."""
        return not name.startswith(self.prefix) or bool(self.end_offset and name >= self.end_offset)

    def folder(self, name: str) -> str | None:
        """The name up to the first delimiter after the prefix, or None if there is none."""
        end = name.find(self.delimiter, len(self.prefix)) if self.delimiter else -1
        return None if end < 0 else name[: end + len(self.delimiter)]


class Page(NamedTuple):
    """Names of objects, names up to the delimiter, and where the next page begins."""

    names: list[str]
    prefixes: list[str]
    next_token: str | None


def page(names: Sequence[str], wanted: Listing) -> Page:
    """The next page of sorted names. What lies behind one delimiter is skipped as a whole.

    Raises:
        Refusal: 400 for a page token that is none of ours.
    """
    found: list[str] = []
    prefixes: list[str] = []
    at = max(bisect_left(names, max(wanted.prefix, wanted.start_offset)), _position(names, wanted.page_token))
    last: tuple[str, bool] | None = None
    while at < len(names) and not wanted.is_past(names[at]):
        name = names[at]
        if not wanted.has(name):
            at += 1
            continue
        if last and len(found) + len(prefixes) >= wanted.max_results:
            return Page(found, prefixes, _token(*last))
        folder = wanted.folder(name)
        if folder is None or (wanted.include_trailing_delimiter and folder == name):
            found.append(name)
        if folder is not None:
            prefixes.append(folder)
        last = (name if folder is None else folder, folder is not None)
        at = _after(names, *last)
    return Page(found, prefixes, None)


def _after(names: Sequence[str], last: str, is_prefix: bool) -> int:
    """Position of the first name behind a name, or behind all that begin with a prefix."""
    if not is_prefix:
        return bisect_right(names, last)
    return bisect_left(names, True, key=lambda name: name > last and not name.startswith(last))


def _token(last: str, is_prefix: bool) -> str:
    return base64.urlsafe_b64encode(f"{int(is_prefix)}{last}".encode()).decode()


def _position(names: Sequence[str], token: str) -> int:
    if not token:
        return 0
    try:
        text = base64.urlsafe_b64decode(token).decode()
    except ValueError:
        text = ""
    if text[:1] not in ("0", "1"):
        raise bad_request(f"pageToken: {token!r} is none of this server")
    return _after(names, text[1:], text[0] == "1")


@lru_cache(maxsize=64)
def glob_pattern(glob: str) -> re.Pattern[str]:
    """Cloud Storage's globs as a pattern: `*` and `?` stop at a slash, `**` does not; `[a-z]`, `[!a]`, `{x,y}`."""
    return re.compile("".join(map(_part, _GLOB.findall(glob))), re.DOTALL)


def _part(part: str) -> str:
    simple = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    if part in simple:
        return simple[part]
    if len(part) > 1 and part[0] == "[":
        return "[" + ("^" if part[1] in "!^" else "") + part[1:-1].lstrip("!^").replace("\\", "\\\\") + "]"
    if len(part) > 1 and part[0] == "{":
        return "(?:" + "|".join(glob_pattern(word).pattern for word in part[1:-1].split(",")) + ")"
    return re.escape(part)
