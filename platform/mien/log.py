"""One formatter for everything a person reads: plain lines on stderr. stdout belongs to results."""

import logging
import os
import re
import sys

logger = logging.getLogger("mien")
"""Every module logs through this logger or a child of it."""


_ADDRESS = re.compile(
    r"\b(?P<scheme>https?://)(?P<who>[^\s/?#@'\"<>]+@)?(?P<path>[^\s?#'\"<>]*)(?P<secret>[?#][^\s'\"<>]*)?"
)


def setup() -> None:
    """Send mien's log lines to stderr; `MIEN_DEBUG=1` lowers the level to DEBUG."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(message)s"))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if is_debug() else logging.INFO)


class _Printable(logging.Formatter):
    """Escapes what would drive a terminal, wherever it came from; line breaks stay, and no signed link is shown."""

    def format(self, record: logging.LogRecord) -> str:
        """The message with every other control character escaped, and addresses without what opens them."""
        return "\n".join(map(printable, redacted(super().format(record)).split("\n")))


def printable(text: str) -> str:
    r"""A stranger's text, such as the name of a file, on one line: what is not printable stands as its escape.

    That is every control character and line break, marks that turn the direction of writing, and bytes that are not
    UTF-8: `\x1b`, `\n`, `\u202e`, `\udce9`.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def redacted(text: str) -> str:
    """A text whose web addresses have lost user, password and query: the query of a signed link opens what it names."""
    return _ADDRESS.sub(lambda found: found["scheme"] + found["path"] + ("?..." if found["secret"] else ""), text)


def is_debug() -> bool:
    """Whether `MIEN_DEBUG` asks for tracebacks and debug lines."""
    return os.environ.get("MIEN_DEBUG", "") not in {"", "0"}
