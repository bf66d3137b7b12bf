"""A MediaPipe task that opens without noise on stderr and leaves none when the interpreter goes."""

import os
import re
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

import mediapipe as mp
import numpy as np
import numpy.typing as npt
from mediapipe.tasks.python import BaseOptions

from mien.errors import AssetError

Rgb = npt.NDArray[np.uint8]
"""uint8 [H, W, 3], upright RGB."""

_NOISE = re.compile(
    rb"INFO: Created TensorFlow Lite XNNPACK delegate"
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|[IW]\d{4} .*(inference_feedback_manager|face_landmarker_graph)\.cc"
)
"""What a healthy task prints while it opens; no variable or flag turns it off."""


class _Closable(Protocol):
    def close(self) -> None: ...


class MediaPipeTask:
    """One MediaPipe task, made once per process; close it by `close()` or `with`, or leave it to the end."""

    def __init__(self, model: bytes, create: Callable[[BaseOptions], _Closable]):
        """Open the task by `create`, which gets the options that hold the model file's bytes and the CPU.

        Raises:
            AssetError: The bytes are not a model for this task.
        """
        try:
            with _without_noise():
                task = create(BaseOptions(model_asset_buffer=model, delegate=BaseOptions.Delegate.CPU))
        except (ValueError, RuntimeError, FileNotFoundError) as error:
            kind = type(self).__name__
            raise AssetError(
                f"{kind}: not its model file ({len(model)} bytes): {error}; run `mien assets pull`"
            ) from error
        self._task: Any = task
        self._close = weakref.finalize(self, _close, task)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the task; a second call does nothing."""
        self._close()

    def _detect(self, rgb: Rgb) -> Any:
        """The task's result for an image, uint8 [H, W, 3]."""
        if not self._close.alive:
            raise ValueError(f"{type(self).__name__} is closed; make a new one")
        return self._task.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=rgb))


def require_rgb(image: Rgb) -> None:
    """Refuse what is not an image.

    Raises:
        ValueError: It is not uint8 [H, W, 3] with at least one pixel.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"image is {image.dtype} {list(image.shape)}: must be RGB uint8 [H, W, 3], not empty")


def _close(task: Any) -> None:
    try:
        task.close()
    except RuntimeError:
        # At exit MediaPipe's threads are gone before it can be closed; without a handle its `__del__` stays silent.
        task._handle = None


@contextmanager
def _without_noise() -> Iterator[None]:
    """Hold back what is written to file descriptor 2 meanwhile, then write the lines that are not known noise."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            os.write(2, b"".join(line for line in held if not _NOISE.match(line)))
