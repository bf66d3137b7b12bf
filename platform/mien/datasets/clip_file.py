"""A clip file, as older tools and `mien export clips` write it: one HDF5 with the faces of one clip, audited.

    faces/frame_%03d/face_%03d/{data, bbox, confidence, original_size}
    metadata/{timestamp, frame_timestamps, fps, subject_id, video_path, video_width, video_height, …}

Only what has these names is looked at: each step down is a hard link, each value is stored in the file itself.
"""

import contextlib
import math
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePath
from typing import Any, BinaryIO, NamedTuple

import h5py
import numpy as np

from mien.datasets.hdf5 import storage_fault
from mien.datasets.shard import readable
from mien.errors import DatasetError, MediaError
from mien.log import printable

_MAX_FRAMES = 100_000
_MAX_FACES = 100
_MAX_FACTS = 200
_MAX_VALUES = 3 * 4096 * 4096
_MAX_TEXT_CHARS = 4096
_FRAME = re.compile(r"frame_(\d{3,6})")
_FACE = re.compile(r"face_(\d{3})")


class ClipFacts(NamedTuple):
    """What a clip file says of itself."""

    subject: str
    """Empty where it is not said."""
    video: str
    """Name of the video that it was cut from, without its folder; empty where it is not said."""
    start_s: float
    fps: float
    width_px: int
    """Of the source frame; 0 where it is not said, as is the height."""
    height_px: int
    source_duration_s: float
    """0 where it is not said, as are the frames."""
    source_num_frames: int
    source_codec: str
    """Empty where it is not said."""
    labels: dict[str, str]
    """What is said of the subject, such as age or gender."""
    time_s: np.ndarray
    """float64 [num_frames], ascending, s of the source."""


class Face(NamedTuple):
    """The first face of one frame."""

    frame: int
    num_faces: int
    rgb: np.ndarray
    """uint8 [H, W, 3], in the order of channels that the file has."""
    shown_box: np.ndarray
    """float64 [4]: x0, y0, x1, y1 of what it shows, px of the source frame; NaN where it is not said."""
    score: float
    """Of the detector; NaN where it is not said."""


class ClipFile:
    """One open clip file."""

    def __init__(self, file: h5py.File, name: str, num_bytes: int) -> None:
        """Take an open file, what messages call it, and its size."""
        self._file, self._name, self._num_bytes = file, printable(name), num_bytes

    def facts(self) -> ClipFacts:
        """What it says of itself.

        Raises:
            MediaError: It has no times of its frames, or they do not ascend.
        """
        time_s = self._numbers(self._group(self._file, "metadata"), "frame_timestamps")
        if not 0 < len(time_s) <= _MAX_FRAMES or not np.isfinite(time_s).all() or (np.diff(time_s) <= 0).any():
            raise self._error("metadata/frame_timestamps are missing or do not ascend")
        return ClipFacts(
            subject=self._text("subject_id"),
            video=PurePath(self._text("video_path")).name,
            start_s=self._number("timestamp", float(time_s[0])),
            fps=self._number("fps", 0.0),
            width_px=self._count("video_width"),
            height_px=self._count("video_height"),
            source_duration_s=max(0.0, self._number("video_duration_seconds", 0.0)),
            source_num_frames=self._count("video_frame_count"),
            source_codec=self._text("video_codec"),
            labels=self._labels(),
            time_s=time_s,
        )

    def faces(self) -> Iterator[Face]:
        """The first face of every frame that has one, in order; one picture is in memory at a time.

        Raises:
            MediaError: One is not a picture, or lies somewhere else.
        """
        group = self._group(self._file, "faces")
        matches = (_FRAME.fullmatch(name) for name in self._names(group, _MAX_FRAMES))
        for number, name in sorted((int(match[1]), match[0]) for match in matches if match):
            frame = self._group(group, name)
            found = sorted(filter(_FACE.fullmatch, self._names(frame, _MAX_FACES)))
            if found:
                yield self._face(number, len(found), self._group(frame, found[0]))

    def _face(self, number: int, num_faces: int, group: h5py.Group) -> Face:
        data = self._values(group, "data")
        if data is None or data.dtype != np.uint8 or data.ndim != 3 or data.shape[2] != 3 or not data.size:
            raise self._error(f"{group.name}/data is not a picture uint8 [H, W, 3]")
        box, score = (self._numbers(group, name) for name in ("bbox", "confidence"))
        shown = box if len(box) == 4 else np.full(4, np.nan)
        return Face(number, num_faces, data, shown, float(score[0]) if len(score) == 1 else math.nan)

    def _names(self, group: h5py.Group, at_most: int) -> list[str]:
        names = list(islice(group, at_most + 1))
        if len(names) > at_most:
            raise self._error(f"{group.name} holds more than {at_most} objects")
        return names

    def _child(self, group: h5py.Group, name: str) -> Any:
        """What a group has under a name, if it lies in this file; None where it has nothing."""
        links, place = group.id.links, f"{group.name.rstrip('/')}/{name}"
        if not links.exists(name.encode()):
            return None
        if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise self._error(f"{place} is a link out of its place")
        return group[name]

    def _group(self, group: h5py.Group, name: str) -> h5py.Group:
        item = self._child(group, name)
        if not isinstance(item, h5py.Group):
            raise self._error(f"has no group {group.name.rstrip('/')}/{name}, so it is not a clip file")
        return item

    def _values(self, group: h5py.Group, name: str) -> Any:
        """Plain numbers or a text that lie in the file; None where there are none."""
        item = self._child(group, name)
        if item is None:
            return None
        place = f"{group.name}/{name}"
        if not isinstance(item, h5py.Dataset):
            raise self._error(f"{place} is not a dataset")
        fault = storage_fault(item, self._num_bytes)  # first: even the shape of a virtual dataset opens its sources
        if fault:
            raise self._error(f"{place} {fault}")
        is_text = item.dtype.kind == "S" or h5py.check_string_dtype(item.dtype) is not None
        if not is_text and item.dtype.kind not in "biuf":
            raise self._error(f"{place} holds no plain numbers or text ({item.dtype})")
        if item.size > (1 if is_text else _MAX_VALUES):
            raise self._error(f"{place} has {item.size} values")
        return item[()]

    def _numbers(self, group: h5py.Group, name: str) -> np.ndarray:
        """Numbers as float64 [N]; none where there are none."""
        values = np.asarray([] if (found := self._values(group, name)) is None else found)
        return values.astype(np.float64).reshape(-1) if values.dtype.kind in "biuf" else np.array([])

    def _labels(self) -> dict[str, str]:
        names = self._names(self._group(self._file, "metadata"), _MAX_FACTS)
        labels = {name.removeprefix("subject_"): name for name in names if name.startswith("subject_")}
        return {key.replace("-", "_"): self._text(name) for key, name in sorted(labels.items()) if key and key != "id"}

    def _text(self, name: str) -> str:
        """A text, also where older tools wrote a number or bytes; empty where there is none."""
        value = self._values(self._group(self._file, "metadata"), name)
        if value is None or np.size(value) != 1:
            return ""
        value = value.item() if isinstance(value, np.ndarray | np.generic) else value
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        return text[:_MAX_TEXT_CHARS]

    def _number(self, name: str, otherwise: float) -> float:
        try:
            value = float(self._text(name))
        except ValueError:
            return otherwise
        return value if np.isfinite(value) else otherwise

    def _count(self, name: str) -> int:
        """A whole number; 0 where there is none, or one that no column of an index holds."""
        value = self._number(name, 0)
        return int(value) if 0 <= value <= np.iinfo(np.int32).max else 0

    def _error(self, what: str) -> MediaError:
        return MediaError(f"{self._name}: {what}; leave it out or write it again")


@contextlib.contextmanager
def opened_clip(source: str | BinaryIO, name: str, num_bytes: int) -> Iterator[ClipFile]:
    """Open a clip file, by its path or as a seekable binary file.

    Raises:
        MediaError: It is no HDF5, is damaged, or is not what a clip file is, inside the block as well.
    """
    try:
        with readable(printable(name), "is not a readable clip file"), h5py.File(source, "r") as file:
            yield ClipFile(file, name, num_bytes)
    except DatasetError as error:
        raise MediaError(str(error)) from None
