"""Tar shards of bounded size: per frame a picture, per sample a video, each with its JSON and its arrays as NPY.

The files of a WebDataset sample stand together under one key without dots: `<key>.jpg`, `<key>.json`,
`<key>.landmarks.npy` (https://github.com/webdataset/webdataset, "the WebDataset format").
"""

import io
import json
import math
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mien.clips.clip import from_labels
from mien.datasets.dataset import Dataset, Sample
from mien.datasets.export.kind import ExportConfig, Outbox, Part, Total, samples, stem
from mien.datasets.export.pictures import ending, files, pixels, sound, timing
from mien.datasets.export.readme import readme
from mien.datasets.export.record import CARD
from mien.schema import FACE_NONE
from mien.video.encode import EncodeConfig, encode

ARRAYS = ("landmarks", "blendshapes", "head_pose", "feature")
_BLOCK_BYTES = 512
"""A member of a tar takes headers of up to five blocks (POSIX.1-2001, pax) and whole blocks; the end takes twenty."""
_END_BYTES = 20 * _BLOCK_BYTES

Entry = dict[str, bytes]
"""Files of one key, by their endings."""


class WebdatasetConfig(ExportConfig):
    """Tar shards for WebDataset and `ray.data.read_webdataset`."""

    kind: Literal["webdataset"] = "webdataset"

    unit: Literal["frame", "sample"] = "frame"
    """What a key stands for: a frame with a face and its picture as it is stored (`jpg`, or `png` of raw crops), or a
    sample and its video (`mp4`), in which frames without the face are black."""

    shard_mb: float = Field(256.0, gt=0, le=10_000)
    """Size of a tar, at most; only a single key may be larger."""

    video: EncodeConfig = EncodeConfig()
    """How an MP4 is made."""

    def check(self, dataset: Dataset) -> None:
        """Every dataset will do."""

    def write(self, dataset: Dataset, part: Part, outbox: Outbox) -> dict[str, Any]:
        """One tar, or more where one would be too large."""
        with _Tars(outbox, part.number, int(self.shard_mb * 1e6)) as tars:
            for sample in samples(dataset, part):
                if self.unit == "frame":
                    _add_frames(tars, sample)
                else:
                    tars.add(stem(sample.row), self._video(dataset, sample, outbox))
        return {"num_left_out": tars.num_left_out, "num_keys": tars.num_keys}

    def _video(self, dataset: Dataset, sample: Sample, outbox: Outbox) -> Entry:
        with outbox.scratch("sample.mp4") as path:
            pictures = pixels(sample, dataset.crop_size_px)
            encode(path, pictures, timing(sample), audio=sound(sample), config=self.video)
            entry = {"mp4": path.read_bytes()}
        columns = {name: np.asarray(sample[name]).tolist() for name in ("pts", "time_s", "face", "score", "box")}
        columns["crop_box"] = np.asarray(sample["crop_box"]).tolist()
        about = {**_about(sample), "num_frames": len(sample), "frames": _plain(columns)}
        arrays = {f"{name}.npy": _npy(np.asarray(sample[name])) for name in ARRAYS if name in sample.columns}
        return {**entry, "json": json.dumps(about).encode(), **arrays}

    def finish(self, dataset: Dataset, total: Total, parts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
        """The README."""
        num_keys = num_left_out = 0
        for part in parts:
            num_keys += int(part["num_keys"])
            num_left_out += int(part["num_left_out"])
        what = f"{num_keys} keys, one per {self.unit}, in the tar files of `data/`. "
        if num_left_out:
            what += f"{num_left_out} frames without the face have no picture, so they are left out. "
        yield (
            CARD,
            readme(dataset, total, what + "Arrays are NPY, NaN where nothing was found; times are of the source."),
        )

    def owns(self, name: str) -> bool:
        """Tar files below data/."""
        return re.fullmatch(r"data/shard-\d+-\d+\.tar", name) is not None


def _add_frames(tars: "_Tars", sample: Sample) -> None:
    """A key for each frame with the face."""
    kind, name, about = ending(sample["crop"]), stem(sample.row), _about(sample)
    columns = {key: np.asarray(sample[key]) for key in ("pts", "time_s", "face", "score", "box", "crop_box")}
    arrays = {key: np.asarray(sample[key]) for key in ARRAYS if key in sample.columns}
    for row, picture in enumerate(files(sample)):
        if columns["face"][row] == FACE_NONE:
            tars.num_left_out += 1
            continue
        values = {key: values[row].tolist() for key, values in columns.items()}
        entry = {kind: picture, "json": json.dumps({**about, "frame": row, **_plain(values)}).encode()}
        tars.add(f"{name}_{row:06d}", entry | {f"{key}.npy": _npy(array[row]) for key, array in arrays.items()})


def _about(sample: Sample) -> dict[str, Any]:
    kept = ("clip_id", "track", "source_uri", "subject", "start_s", "end_s", "width_px", "height_px", "fps")
    told = {key: sample.row[key] for key in ("keyword", "keyword_s", "text") if sample.row.get(key) not in (None, "")}
    labels = from_labels(sample.row.get("labels"))
    return dict(_plain({key: sample.row[key] for key in kept} | told | ({"labels": labels} if labels else {})))


def _plain(value: Any) -> Any:
    """What is not a number becomes null: JSON has no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _npy(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


class _Tars:
    """The tar files of one part: the next is begun when a key would not fit."""

    def __init__(self, outbox: Outbox, part: int, max_bytes: int) -> None:
        self._outbox, self._part, self._max_bytes = outbox, part, max_bytes
        self._open = ExitStack()
        self._tar: tarfile.TarFile | None = None
        self._held = self._number = 0
        self.num_keys = self.num_left_out = 0

    def add(self, key: str, entry: Entry) -> None:
        """Append the files of one key, together."""
        size = sum(_BLOCK_BYTES * (5 + math.ceil(len(data) / _BLOCK_BYTES)) for data in entry.values())
        if self._tar is not None and self._held + size + _END_BYTES > self._max_bytes:
            self._finish()
        tar = self._tar or self._begin()
        for ending_, data in entry.items():
            member = tarfile.TarInfo(f"{key}.{ending_}")  # time, owner and rights are always the same
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
        self._held += size
        self.num_keys += 1

    def _begin(self) -> tarfile.TarFile:
        path = self._open.enter_context(self._outbox.file(f"data/shard-{self._part:05d}-{self._number:03d}.tar"))
        self._tar = self._open.enter_context(tarfile.TarFile(path, "w", format=tarfile.PAX_FORMAT))
        return self._tar

    def _finish(self) -> None:
        self._open.close()
        self._tar, self._held, self._number = None, 0, self._number + 1

    def __enter__(self) -> "_Tars":
        return self

    def __exit__(self, *error: Any) -> None:
        """Close the last tar; after an error nothing of it is put."""
        self._open.__exit__(*error)
        self._open = ExitStack()
