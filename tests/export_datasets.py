"""Datasets whose pictures survive a video encoder, and clip files as the older serialisers wrote them, for tests."""

import colorsys
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mien.clips.clip import Clip, Source
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG, Dataset
from mien.datasets.formats import FormatConfig
from mien.datasets.frames import to_table
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.datasets.sound import split
from mien.faces.crop import encode_jpeg
from mien.storage.commit import commit, digest
from mien.storage.local import LocalStore
from mien.video.audio import AudioClip
from sample_datasets import PROVENANCE, SIZE_PX, make_columns, sample_row

CARD = CardConfig(title="Test faces", licence="CC-BY-4.0", consent="signed on paper", redistributable=True)
NO_FACE = 2
"""The row of every sample that has no face."""


def pictures(num_frames: int, seed: int = 0, size_px: int = SIZE_PX) -> np.ndarray:
    """Flat colours around a square of another one: uint8 [num_frames, size, size, 3]."""
    shown = np.zeros((num_frames, size_px, size_px, 3), np.uint8)
    for row in range(num_frames):
        hue = (seed * 0.37 + row / num_frames) % 1
        shown[row] = np.array(colorsys.hsv_to_rgb(hue, 0.6, 0.8)) * 255
        shown[row, : size_px // 2, : size_px // 2] = np.array(colorsys.hsv_to_rgb((hue + 0.5) % 1, 0.7, 0.9)) * 255
    return shown


def columns(clip_id: str, num_frames: int, seed: int, *, raw: bool = False) -> dict[str, Any]:
    """Frames with a face in every row but one, which has none; the second face is interpolated."""
    found, shown = make_columns(clip_id, num_frames, seed), pictures(num_frames, seed)
    face = np.ones(num_frames, np.uint8)
    face[1], face[NO_FACE] = 2, 0
    shown[NO_FACE] = 0
    jpegs = [encode_jpeg(rgb, 98) if status else b"" for rgb, status in zip(shown, face, strict=True)]
    is_there = face[:, None] > 0
    boxes = np.tile([20.0, 30.0, 60.0, 90.0], (num_frames, 1))
    found |= {"face": face, "num_faces": face.clip(max=1), "score": np.where(face == 1, 0.9, np.nan)}
    found |= {"box": np.where(face[:, None] == 1, boxes, np.nan)}
    found |= {"crop_box": np.where(is_there, [10.0, 20.0, 74.0, 84.0], np.nan)}
    found["landmarks"] = np.where(is_there[..., None], found["landmarks"] * SIZE_PX, np.nan)
    return found | {"crop": shown if raw else jpegs}


def make_coloured(
    store: LocalStore,
    kind: FormatConfig | None = None,
    *,
    raw: bool = False,
    counts: Sequence[int] = (6, 9, 7),
    without: Sequence[str] = (),
    pts: Sequence[int] = (),
    heard: AudioClip | None = None,
    **of_index: Any,
) -> Dataset:
    """A finished dataset of subjects s0, s1, …, one shard and one sample each."""
    kind = kind or ParquetConfig()
    uris = [f"/videos/{number} in a day.v1.mp4" for number in range(len(counts))]
    clips = [Clip(Source(uri, 1000, 7, f"s{i}"), 1.5 * i, reason="test") for i, uri in enumerate(uris)]
    store.put_new(CONFIG, f"crop: {{size_px: {SIZE_PX}}}\nfps: null\n".encode())
    index.write_plan(store, (clip.to_row() for clip in clips))
    for number, (clip, count) in enumerate(zip(clips, counts, strict=True)):
        found = columns(clip.clip_id, count, number, raw=raw)
        found |= {"pts": np.array(pts, np.int64)} if pts else {}
        found |= {"audio": split(heard, found["time_s"])} if heard else {}
        frames = to_table({name: values for name, values in found.items() if name not in without})
        name = f"data/w{number}{kind.suffix}"
        draft = store.scratch() / Path(name).name
        writer = kind.writer(draft, {"version": "test"})
        samples = [sample_row(clip, frames, name, writer.add(frames)) | of_index]
        writer.close(samples)
        store.publish(draft, name)
        record = {"files": [{"name": name, **digest(draft)._asdict()}], "samples": samples, "failures": []}
        assert commit(store, f"w{number}", f"w{number}", record)
    return publish(store, CARD, PreviewConfig(), PROVENANCE)


def write_clip_file(path: Path, subject: Any = "0123", num_frames: int = 4, **metadata: Any) -> np.ndarray:
    """As the older serialiser wrote it, with h5py alone: scalars, texts of any length, gzip 9; returns its pictures."""
    shown = pictures(num_frames)
    with h5py.File(path, "w") as file:
        for row, rgb in enumerate(shown):
            face = file.create_group(f"faces/frame_{row:03d}/face_000")
            face.create_dataset("data", data=rgb, compression="gzip", compression_opts=9)
            face.create_dataset("bbox", data=[10, 20, 74, 90])
            face.create_dataset("confidence", data=0.75)
            face.create_dataset("original_size", data=[50, 60])
        about = {"video_path": "/corpus/a b.mp4", "timestamp": 2.5, "fps": 30.0, "num_frames": num_frames}
        about |= {"frame_timestamps": 2.5 + np.arange(num_frames) / 30, "face_size": (SIZE_PX, SIZE_PX)}
        about |= {"frame_skip": 0, "extraction_date": "2025-08-05T10:00:00", "subject_id": subject}
        about |= {"video_width": "1280", "video_height": "720", "subject_age": "30"}
        about |= {"video_duration_seconds": "60.5", "video_frame_count": "1815", "video_codec": "h264"}
        for name, value in (about | metadata).items():
            if value is not None:
                file.create_dataset(f"metadata/{name}", data=value)
    return shown


def export_files(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of all files of an export but its records, which carry times."""
    own = {"export.json"}
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in own)
    return {str(path.relative_to(folder)): digest(path).sha256 for path in found if path.parent.name != "parts"}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON document of an export."""
    return dict(json.loads(path.read_text(encoding="utf-8")))
