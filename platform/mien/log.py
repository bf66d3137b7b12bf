"""One formatter for everything a person reads: plain lines on stderr. stdout belongs to results."""

import logging
import os
import sys

logger = logging.getLogger("mien")
"""Every module logs through this logger or a child of it."""


def setup() -> None:
    """Send mien's log lines to stderr; `MIEN_DEBUG=1` lowers the level to DEBUG."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if is_debug() else logging.INFO)


def is_debug() -> bool:
    """Whether `MIEN_DEBUG` asks for tracebacks and debug lines."""
    return os.environ.get("MIEN_DEBUG", "") not in {"", "0"}
