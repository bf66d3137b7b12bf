"""What is in a dataset, from its index; and the first rows of it, for a quick look."""

import json
from collections import Counter
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mien.datasets.frames import Values

if TYPE_CHECKING:
    from mien.datasets.dataset import Dataset
    from mien.datasets.tables import TableFile


MAX_VALUES = 1000
"""Of a label that are told apart."""
OTHERS = "others"
"""Stands for all that came after them."""

_SHOWN = ["clip_id", "source_uri", "track", "num_frames", "num_detected", "width_px", "height_px", "fps", "subject"]


def summarize(dataset: "Dataset") -> dict[str, Any]:
    """Counts, time, shares, columns and failures as plain values."""
    index, failures = dataset.index_file, dataset.failure_file
    num_frames = int(pc.sum(index.column("num_frames")).as_py() or 0)
    num_detected = int(pc.sum(index.column("num_detected")).as_py() or 0)
    return {
        "path": dataset.uri,
        "finished": bool(dataset.record),
        "num_clips": dataset.num_clips,
        "num_samples": len(dataset),
        "num_failed": failures.num_rows,
        "num_sources": _num_distinct(index.column("source_uri"), failures.column("source_uri")),
        "num_frames": num_frames,
        "duration_s": float(durations_s(dataset).sum()),
        "face_share": num_detected / num_frames if num_frames else 0.0,
        "num_shards": _num_distinct(index.column("file")),
        "data_bytes": sum(
            file["size_bytes"] for file in dataset.record.get("files", []) if file["name"].startswith("data/")
        ),
        "columns": column_types(dataset),
        "sound": _sound(dataset),
        "subjects": {name: count for name, count in _counts(index.column("subject")).items() if name},
        "labels": label_counts(index),
        "keywords": keyword_counts(index),
        "failures": _counts(failures.column("error_type")),
        "models": dataset.record.get("models", {}),
    }


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each text of a column occurs, in the order of the first occurrences."""
    return {found["values"]: found["counts"] for found in pc.value_counts(column).to_pylist()}


def _sound(dataset: "Dataset") -> dict[str, int]:
    """Samples by their sound, such as `44100 Hz x 2`; empty where none was asked for."""
    names = ["audio_rate_hz", "audio_channels"]
    if not set(names) <= set(dataset.index_file.names):  # of an earlier version
        return {}
    counted = dataset.index_file.table(names).group_by(names).aggregate([([], "count_all")]).to_pylist()
    counts = {(row["audio_rate_hz"], row["audio_channels"]): row["count_all"] for row in counted}
    return {
        f"{rate_hz} Hz x {channels}" if rate_hz else "none": count
        for (rate_hz, channels), count in sorted(counts.items(), key=str)
        if rate_hz is not None
    }


def label_counts(index: "TableFile") -> dict[str, dict[str, int]]:
    """Label -> value -> samples that have it; none for datasets of versions without labels.

    A label that is different in every clip is told by its first MAX_VALUES values, and OTHERS.
    """
    counts = dict[str, Counter[str]]()
    for text, count in _counts_of(index, "labels").items():
        for label, value in json.loads(text).items():
            of_label = counts.setdefault(label, Counter())
            is_counted = len(of_label) < MAX_VALUES or str(value) in of_label
            of_label[str(value) if is_counted else OTHERS] += count
    return {label: dict(counts[label].most_common()) for label in sorted(counts)}


def keyword_counts(index: "TableFile") -> dict[str, int]:
    """Keyword -> samples whose clip stands for a match of it; none where no keywords were looked for."""
    counts = Counter[str]()
    for text, count in _counts_of(index, "matches").items():
        counts.update(dict.fromkeys({keyword for keyword, _ in json.loads(text)}, count))
    return dict(sorted(counts.items(), key=lambda counted: (-counted[1], counted[0])))


def _counts_of(index: "TableFile", name: str) -> dict[str, int]:
    """How often each text of a column occurs that datasets of earlier versions lack; empty ones are left out."""
    if name not in index.names:
        return {}
    return {text: count for text, count in _counts(index.column(name)).items() if text}


def _num_distinct(*columns: pa.ChunkedArray) -> int:
    return int(
        pc.count_distinct(
            pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
        ).as_py()
    )


def durations_s(dataset: "Dataset") -> np.ndarray:
    """Frames of each sample over its source's frame rate (as sampled), s: [samples], 0 where no rate is known."""
    config_fps = dataset.config.get("fps")
    frames = np.asarray(dataset.index_file.column("num_frames").to_numpy(), float)
    fps = np.asarray(dataset.index_file.column("fps").to_numpy(), float)
    rate = np.minimum(fps, config_fps) if config_fps else fps
    return np.asarray(np.divide(frames, rate, out=np.zeros_like(frames), where=rate > 0))


def column_types(dataset: "Dataset") -> dict[str, str]:
    """Column -> type and shape of a row, read off the first sample; empty for an empty dataset."""
    if not len(dataset):
        return {}
    sample = dataset.sample(0)
    return {name: describe(sample[name]) for name in sample.columns}


def describe(values: Values) -> str:
    """Type and row shape of a column in words, such as `float32 [478, 3]`."""
    if isinstance(values, np.ndarray):
        return f"{values.dtype.name}{list(values.shape[1:]) or ''}".replace("[", " [", 1)
    return "text" if values and isinstance(values[0], str) else "bytes"


def sample_rows(dataset: "Dataset") -> list[dict[str, Any]]:
    """One line per sample for a table: video, frames, share with a face, size, failures left out."""
    rows = []
    for row in dataset.index_file.table(_SHOWN).to_pylist():
        share = 100 * row["num_detected"] / row["num_frames"]
        rows.append(
            {
                "clip_id": row["clip_id"],
                "video": PurePath(row["source_uri"]).name,
                "track": row["track"],
                "frames": row["num_frames"],
                "face_percent": round(share, 1),
                "size": f"{row['width_px']}x{row['height_px']}",
                "fps": round(row["fps"], 3),
                "subject": row["subject"],
            }
        )
    return rows


def head(dataset: "Dataset", num_rows: int) -> list[dict[str, Any]]:
    """The first frames in plain values; long arrays and byte strings are described instead of printed."""
    return list(islice(_frames(dataset), num_rows))


def _frames(dataset: "Dataset") -> Any:
    for sample in dataset:
        columns = {name: sample[name] for name in sample.columns}
        for row in range(len(sample)):
            yield {name: _plain(values[row]) for name, values in columns.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, np.ndarray) and value.size > 8:
        return f"<{describe(value[None])}>"
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
