"""Small datasets made without Ray or video, for tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mien import schema
from mien.clips.clip import Clip, Source
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG, Dataset
from mien.datasets.formats import FormatConfig
from mien.datasets.frames import Values, checksums, to_table
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.faces.crop import encode_jpeg
from mien.storage.commit import commit, digest
from mien.storage.local import LocalStore
from mien.storage.uri import Store

SIZE_PX = 32
PROVENANCE = {"version": "test", "fingerprint": "f" * 64, "source": "/videos", "models": {"net": {"sha256": "0" * 64}}}


def make_columns(clip_id: str, num_frames: int, seed: int = 0, *, raw: bool = False) -> dict[str, Values]:
    """Random frames of one sample: every second one without a face."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (num_frames, SIZE_PX, SIZE_PX, 3), np.uint8)
    face = (np.arange(num_frames) % 2).astype(np.uint8)
    jpegs = [encode_jpeg(p, 90) if f else b"" for p, f in zip(pixels, face, strict=True)]
    return {
        "clip_id": [clip_id] * num_frames,
        "track": np.zeros(num_frames, np.int16),
        "pts": np.arange(num_frames) * 512,
        "time_s": np.arange(num_frames) / 25,
        "face": face,
        "num_faces": face.astype(np.int16),
        "score": np.where(face, 0.9, np.nan).astype(np.float32),
        "box": np.where(face[:, None], rng.random((num_frames, 4)) * 50 + [0, 0, 50, 50], np.nan).astype(np.float32),
        "crop_box": np.where(face[:, None], [0.0, 0.0, 64.0, 64.0], np.nan).astype(np.float32),
        "padded": np.where(face, 0.1, np.nan).astype(np.float32),
        "crop": pixels if raw else jpegs,
        "landmarks": rng.random((num_frames, schema.NUM_LANDMARKS, 3), np.float32),
        "feature": rng.random((num_frames, 8), np.float32),
        "thumb": [encode_jpeg(p, 80) if i % 3 == 0 else b"" for i, p in enumerate(pixels)],
    }


def make_frames(clip_id: str, num_frames: int, seed: int = 0, *, raw: bool = False) -> pa.Table:
    """The same as a frames table."""
    return to_table(make_columns(clip_id, num_frames, seed, raw=raw))


def make_clip(number: int) -> Clip:
    """One planned clip."""
    return Clip(Source(f"/videos/subject_{number}.mp4", 1000 + number, 7, subject=f"s{number}"))


def sample_row(clip: Clip, frames: pa.Table, file: str, rows: tuple[int, int]) -> dict[str, Any]:
    """What a sink would say of one sample."""
    facts = {"width_px": 640, "height_px": 480, "rotation_deg": 0, "fps": 25.0, "is_vfr": False}
    facts |= {"time_base_num": 1, "time_base_den": 12800, "track": 0, "num_frames": frames.num_rows}
    facts |= {"num_detected": frames.num_rows // 2, "file": file, "row_start": rows[0], "row_stop": rows[1]}
    return {**clip.to_row(), **facts, "checksums": json.dumps(checksums(frames))}


def write_shard(
    store: LocalStore, kind: FormatConfig, clips: list[Clip], write_id: str, num_frames: int = 6, *, raw: bool = False
) -> None:
    """One committed shard holding the clips."""
    name = f"data/{write_id}{kind.suffix}"
    draft = store.scratch() / Path(name).name
    writer, samples = kind.writer(draft, {"version": "test"}), []
    for clip in clips:
        frames = make_frames(clip.clip_id, num_frames, seed=clip.source.size_bytes, raw=raw)
        samples.append(sample_row(clip, frames, name, writer.add(frames)))
    writer.close(samples)
    store.publish(draft, name)
    record = {"files": [{"name": name, **digest(draft)._asdict()}], "samples": samples, "failures": []}
    assert commit(store, write_id, write_id, record)


def failure_row(clip: Clip, error: str = "no face in any of 9 frames") -> dict[str, Any]:
    """A clip that failed, as a commit record tells it."""
    return {**clip.to_row(), "stage": "faces", "error_type": "FaceError", "error": error, "thumb": ""}


def write_failure(store: LocalStore, clip: Clip, write_id: str) -> None:
    """One committed shard that holds only a failure."""
    record = {"files": [], "samples": [], "failures": [failure_row(clip)]}
    assert commit(store, write_id, write_id, record)


def tables(store: Store) -> tuple[pa.Table, pa.Table]:
    """Index and failures of what is committed so far, in memory."""
    found = index.unfinished_tables(store)
    return found.index_file.table(), found.failure_file.table()


def make_finished(store: LocalStore, kind: FormatConfig) -> Dataset:
    """A finished dataset: two shards with three clips, and one failure."""
    clips = [make_clip(number) for number in range(4)]
    store.put_new(CONFIG, f"crop: {{size_px: {SIZE_PX}}}\nfps: null\n".encode())
    index.write_plan(store, (clip.to_row() for clip in clips))
    write_shard(store, kind, clips[:2], "a1")
    write_shard(store, kind, clips[2:3], "b2")
    write_failure(store, clips[3], "c3")
    return publish(store, CardConfig(title="Test faces"), PreviewConfig(), PROVENANCE)
