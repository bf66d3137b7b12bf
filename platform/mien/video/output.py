"""Write a media file whole or not at all: under a temporary name beside it, renamed when finished."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av

from mien.errors import StorageError


@contextmanager
def output(path: str | os.PathLike[str], container: str, options: dict[str, str] | None = None) -> Iterator[Any]:
    """A PyAV output container that appears as `path` at the end of the block; an older file is replaced.

    Raises:
        StorageError: The file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with av.open(f"file:{temporary.absolute()}", "w", format=container, container_options=options or {}) as opened:
            yield opened
        temporary.replace(path)
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise StorageError(
            f"{path}: cannot be written ({reason}); check the folder, its rights and the free space"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
