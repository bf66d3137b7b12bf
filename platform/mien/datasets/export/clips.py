"""One HDF5 and one MP4 per sample: `faces/frame_%03d/face_000/{data,bbox,confidence,original_size}` and `metadata/`.

`data` is RGB. A frame without the face has no group in the HDF5 and is black in the MP4, so that both keep the time.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from pydantic import Field

from mien.clips.clip import from_labels
from mien.datasets.dataset import Dataset, Sample
from mien.datasets.export.kind import ExportConfig, Outbox, Part, Total, safe, samples, stem
from mien.datasets.export.pictures import pixels, sound, timing
from mien.datasets.export.readme import readme
from mien.datasets.export.record import CARD, origin
from mien.datasets.hdf5 import Disk
from mien.schema import FACE_NONE
from mien.video.encode import EncodeConfig, encode

_OF_CLIP = {"subject": "subject_id", "keyword": "keyword", "keyword_s": "keyword_timestamp", "text": "transcript"}
"""Columns of the index -> their names below `metadata/`, where there is something to say."""

_OF_SOURCE = {
    "source_bytes": "video_file_size",
    "source_duration_s": "video_duration_seconds",
    "source_num_frames": "video_frame_count",
    "source_codec": "video_codec",
    "fps": "video_fps",
}
"""The same for what is kept as texts."""


class ClipsConfig(ExportConfig):
    """One HDF5 and one MP4 per sample."""

    kind: Literal["clips"] = "clips"

    size_px: int | None = Field(518, ge=16, le=2048)
    """Side of the pictures; `null` keeps that of the dataset."""

    compression: Literal["gzip", "lzf", "none"] = "gzip"
    """Of `data`, one chunk per picture; each is built into every HDF5."""

    video: EncodeConfig = EncodeConfig()
    """How the MP4 is made."""

    def check(self, dataset: Dataset) -> None:
        """Every dataset will do."""

    def write(self, dataset: Dataset, part: Part, outbox: Outbox) -> dict[str, Any]:
        """Two files per sample."""
        side_px = self.size_px or dataset.crop_size_px
        facts, made_at = origin(dataset), datetime.now(UTC).isoformat(timespec="seconds")
        for sample in samples(dataset, part):
            name = stem(sample.row)
            with outbox.file(f"{name}.h5") as path:
                about = {**metadata(sample, side_px), **_about(facts), "extraction_date": made_at}
                _write(path, self, sample, pixels(sample, dataset.crop_size_px, side_px), about)
            with outbox.file(f"{name}.mp4") as path:
                pictures = pixels(sample, dataset.crop_size_px, side_px)
                heard = sound(sample)
                encode(path, pictures, timing(sample), audio=heard, metadata=_about(facts), config=self.video)
        return {}

    def finish(self, dataset: Dataset, total: Total, parts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
        """The README."""
        del parts
        what = (
            "One `.h5` and one `.mp4` per sample. `faces/frame_000/face_000/` holds `data` (RGB), `bbox` (what it "
            "shows of the frame: x0, y0, x1, y1, px), `confidence` (of the detector, NaN where the face was "
            "interpolated) and `original_size` (w, h of the face, px). A frame without the face has no "
            "group, and is black in the `.mp4`, which has the sound if the dataset has. What is not known of a source "
            "is left out."
        )
        yield CARD, readme(dataset, total, what)

    def owns(self, name: str) -> bool:
        """Files at the root, by their endings."""
        return re.fullmatch(r"[^/]+_faces_[^/]+\.(h5|mp4)", name) is not None


def metadata(sample: Sample, side_px: int) -> dict[str, Any]:
    """The datasets of `metadata/` about one sample; what is not known is not there."""
    row, time_s = sample.row, np.asarray(sample["time_s"], np.float64)
    size = (int(row["width_px"]), int(row["height_px"]))
    found: dict[str, Any] = {
        "video_path": row["source_uri"],
        "timestamp": float(row["start_s"]),
        "frame_timestamps": time_s,
        "face_size": np.array([side_px, side_px]),
        "num_frames": len(sample),
        "frame_skip": 0,
        "fps": _fps(time_s, float(row["fps"])),
        "clip_id": row["clip_id"],
        "track": int(row["track"]),
    }
    if all(size):
        found |= {"video_width": str(size[0]), "video_height": str(size[1]), "video_resolution": f"{size[0]}x{size[1]}"}
        found["video_aspect_ratio"] = str(size[0] / size[1])
    found |= {called: row[name] for name, called in _OF_CLIP.items() if row.get(name) not in (None, "")}
    found |= {called: str(row[name]) for name, called in _OF_SOURCE.items() if row.get(name) is not None}
    return found | _labels(row)


def _labels(row: Mapping[str, Any]) -> dict[str, str]:
    """`subject_<label>` of all labels of the clip, as texts."""
    labels = {safe(name, 60): str(value) for name, value in from_labels(row.get("labels")).items()}
    return {f"subject_{'skin-type' if name == 'skin_type' else name}": labels[name] for name in labels if name != "id"}


def _fps(time_s: np.ndarray, of_source: float) -> float:
    """Frames per second of what is here, which may be less than the source had."""
    return float((len(time_s) - 1) / (time_s[-1] - time_s[0])) if len(time_s) > 1 else of_source


def _about(facts: Mapping[str, Any]) -> dict[str, str]:
    """Licence, consent and origin, as texts."""
    return {key: str(facts[key]) for key in ("licence", "consent", "redistributable", "made_by")}


def _write(path: Path, config: ClipsConfig, sample: Sample, pictures: Iterator[np.ndarray], about: Any) -> None:
    """The HDF5 of one sample.

    Raises:
        OSError: The disk is full, or took no more for another reason.
    """
    disk = Disk(path)
    try:
        with h5py.File(disk, "w", libver=("v110", "v114")) as file:
            for name, value in about.items():
                file[f"metadata/{name}"] = value
            faces = file.create_group("faces")
            for number, (rgb, face) in enumerate(zip(pictures, _faces(sample), strict=True)):
                if face is not None and disk.error is None:
                    _write_face(faces.create_group(f"frame_{number:03d}/face_000"), rgb, face, config.compression)
    finally:
        disk.close()
        if disk.error is not None:
            raise disk.error


def _write_face(group: h5py.Group, rgb: np.ndarray, face: Mapping[str, Any], compression: str) -> None:
    how: dict[str, Any] = {} if compression == "none" else {"compression": compression, "chunks": rgb.shape}
    if compression == "gzip":
        how["compression_opts"] = 1  # 9 takes five times as long for the last hundredth
    group.create_dataset("data", data=rgb, **how)
    for name, value in face.items():
        group[name] = value


def _faces(sample: Sample) -> Iterator[dict[str, Any] | None]:
    """What is said of the face in each frame; None where there is none."""
    columns = (np.asarray(sample[name]) for name in ("face", "crop_box", "box", "score"))
    for status, shown, box, score in zip(*columns, strict=True):
        if status == FACE_NONE:
            yield None
            continue
        extent = box if np.isfinite(box).all() else shown
        size = np.array([extent[2] - extent[0], extent[3] - extent[1]], np.float64)
        yield {"bbox": shown.astype(np.float64), "confidence": float(score), "original_size": size}
