"""LeRobot v3.0: a sample is an episode; many episodes to a Parquet file and to an MP4, with their offsets in `meta/`.

As `LeRobotDatasetMetadata` and `DatasetReader` of lerobot (codebase_version v3.0) read it: frame i of an episode is
at `from_timestamp + i / fps` of its video, `timestamp` is i / fps, `index` counts the frames of all episodes.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from mien.datasets.dataset import Dataset, Sample
from mien.datasets.export.hf import nested
from mien.datasets.export.kind import ExportConfig, Outbox, Part, Total, samples
from mien.datasets.export.parts import chosen
from mien.datasets.export.pictures import pixels
from mien.datasets.export.readme import readme
from mien.datasets.export.record import CARD
from mien.datasets.export.statistics import Statistics, together
from mien.errors import ConfigError
from mien.video.encode import EncodeConfig, encode

VERSION = "v3.0"
FILES_PER_CHUNK = 1000
VIDEO = "observation.images.face"
_ARRAYS = ("landmarks", "blendshapes", "head_pose", "feature")
_COLUMNS = {"time_s": "source_time_s", "face": "face", "score": "score", "box": "box", "crop_box": "crop_box"}
"""Columns of a frame -> their names below `observation.`, as are the arrays."""
_OF_LEROBOT = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64"}
_SAMPLED_EVERY, _SAMPLED_PX = 10, 8
"""Every so many frames, and of them every so many pixels each way, make the statistics of the pictures."""


class LerobotConfig(ExportConfig):
    """A dataset for LeRobot."""

    kind: Literal["lerobot"] = "lerobot"

    task: str = Field("a face in a video", min_length=1)
    """What LeRobot calls the task, the same for all episodes."""

    frames_per_part: int = Field(10_000, ge=1)
    """Frames of one Parquet file and one MP4, by whole samples."""

    video: EncodeConfig = EncodeConfig(max_keyframe_gap=10)
    """How the MP4 is made; frames are read at random, so keyframes are close."""

    def check(self, dataset: Dataset) -> None:
        """All episodes must have one frame rate.

        Raises:
            ConfigError: They have not.
        """
        rate(dataset, self.subject)

    def write(self, dataset: Dataset, part: Part, outbox: Outbox) -> dict[str, Any]:
        """A Parquet file of frames, an MP4, and a Parquet file that says where each episode is."""
        fps = rate(dataset, self.subject)
        place = f"chunk-{part.number // FILES_PER_CHUNK:03d}/file-{part.number % FILES_PER_CHUNK:03d}"
        statistics = dict[str, Statistics]()
        episodes = list[dict[str, Any]]()
        with outbox.file(f"data/{place}.parquet") as path:
            _write_frames(path, dataset, part, fps, statistics)
        for sample in samples(dataset, part):
            episodes.append(_episode(sample, part, fps, self.task, episodes))
        with outbox.file(f"videos/{VIDEO}/{place}.mp4") as path:
            encode(path, _pictures(dataset, part, statistics), fps, config=self.video)
        with outbox.file(f"meta/episodes/{place}.parquet") as path:
            pq.write_table(pa.Table.from_pylist(episodes), path)
        return {"statistics": {name: found.to_json() for name, found in statistics.items()}}

    def finish(self, dataset: Dataset, total: Total, parts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
        """What LeRobot wants to know of the whole, and the README."""
        fps = rate(dataset, self.subject)
        statistics = together(part["statistics"] for part in parts)
        if VIDEO in statistics:
            statistics[VIDEO] = {key: _per_channel(key, value) for key, value in statistics[VIDEO].items()}
        yield "meta/stats.json", json.dumps(statistics, indent=1).encode()
        yield "meta/tasks.parquet", _tasks([self.task])
        yield "meta/info.json", json.dumps(self._info(dataset, total, fps), indent=1).encode()
        what = (
            "An episode is one face track of one clip. In a frame without the face (`observation.face` is 0) the "
            "picture is black and what was not found is NaN; `observation.source_time_s` is its time in the source."
        )
        header = {
            "task_categories": ["robotics"],
            "tags": ["LeRobot", "face", "video", "mien"],
            "configs": [{"config_name": "default", "data_files": "data/*/*.parquet"}],
        }
        yield CARD, readme(dataset, total, what, header)

    def _info(self, dataset: Dataset, total: Total, fps: Fraction) -> dict[str, Any]:
        number = int(fps) if fps.denominator == 1 else float(fps)
        return {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": total.num_samples,
            "total_frames": total.num_frames,
            "total_tasks": 1,
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": number,
            "splits": {"train": f"0:{total.num_samples}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
            "features": _features(dataset, number, self.video.pixel_format),
        }

    def owns(self, name: str) -> bool:
        """Files below data/, videos/ and meta/."""
        in_chunk = r"(data|videos/[^/]+|meta/episodes)/chunk-\d+/file-\d+\.(parquet|mp4)"
        return re.fullmatch(rf"{in_chunk}|meta/(info|stats)\.json|meta/tasks\.parquet", name) is not None


def rate(dataset: Dataset, subject: str) -> Fraction:
    """The one frame rate of all episodes.

    Raises:
        ConfigError: The sources have several, or one that varies, and the dataset was not made at a rate of its own.
    """
    rows = chosen(dataset, subject)
    asked = dataset.config.get("fps")
    fps = np.asarray(dataset.index_file.column("fps").to_numpy(), float)[rows]
    found = sorted({float(value) for value in (np.minimum(fps, asked) if asked else fps).round(6)})
    is_even = asked or not np.asarray(dataset.index_file.column("is_vfr").to_numpy())[rows].any()
    if len(found) > 1 or not is_even or not found[0] > 0:
        shown = ", ".join(f"{value:g}" for value in found[:5]) + (", …" if len(found) > 5 else "")
        raise ConfigError(
            f"{dataset.uri}: LeRobot has one frame rate for all episodes, and here are {shown} frames/s"
            f"{'' if is_even else ', some of them varying'}; make the dataset with fps={found[0]:g}, or export one "
            "subject"
        )
    return Fraction(found[0]).limit_denominator(1001)


def _features(dataset: Dataset, fps: float, pixel_format: str) -> dict[str, Any]:
    """What the columns are, as `meta/info.json` has it."""
    side = dataset.crop_size_px + dataset.crop_size_px % 2
    info = {"video.height": side, "video.width": side, "video.codec": "h264", "video.pix_fmt": pixel_format}
    info |= {"video.fps": fps, "video.channels": 3, "video.is_depth_map": False, "has_audio": False}
    names = ["height", "width", "channels"]
    features: dict[str, Any] = {VIDEO: {"dtype": "video", "shape": [side, side, 3], "names": names, "info": info}}
    for name, values in _observations(dataset.sample(0)):
        shape = list(values.shape[1:]) or [1]
        features[name] = {"dtype": values.dtype.name, "shape": shape, "names": None}
    return features | {
        name: {"dtype": dtype, "shape": [1], "names": None}
        for name, dtype in {**_OF_LEROBOT, "task_index": "int64"}.items()
    }


def _observations(sample: Sample) -> Iterator[tuple[str, np.ndarray]]:
    for name, called in _COLUMNS.items():
        values = np.asarray(sample[name])
        yield f"observation.{called}", values.astype(np.int64) if name == "face" else values
    for name in _ARRAYS:
        if name in sample.columns:
            yield f"observation.{name}", np.asarray(sample[name])


def _write_frames(path: Path, dataset: Dataset, part: Part, fps: Fraction, statistics: dict[str, Statistics]) -> None:
    """Rows of every frame, a row group per episode."""
    writer: pq.ParquetWriter | None = None
    index = part.first_frame
    for number, sample in enumerate(samples(dataset, part), part.first_sample):
        columns = dict(_observations(sample))
        rows = np.arange(len(sample))
        columns |= {"timestamp": (rows / float(fps)).astype(np.float32), "frame_index": rows, "index": index + rows}
        columns |= {"episode_index": np.full(len(rows), number), "task_index": np.zeros(len(rows), np.int64)}
        for name, values in columns.items():
            statistics.setdefault(name, Statistics(values.shape[1:] or (1,))).add(_at_least_2d(values))
        table = pa.table({name: nested(values) for name, values in columns.items()})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table)
        index += len(sample)
    if writer is not None:
        writer.close()


def _at_least_2d(values: np.ndarray) -> np.ndarray:
    return values[:, None] if values.ndim == 1 else values


def _episode(sample: Sample, part: Part, fps: Fraction, task: str, before: list[dict[str, Any]]) -> dict[str, Any]:
    """Where one episode is, given those before it in the same files; and what the dataset calls it."""
    start = before[-1]["dataset_to_index"] if before else part.first_frame
    in_file = start - part.first_frame
    chunk, file = divmod(part.number, FILES_PER_CHUNK)
    places = {f"{kind}/chunk_index": chunk for kind in ("data", f"videos/{VIDEO}", "meta/episodes")}
    places |= {f"{kind}/file_index": file for kind in ("data", f"videos/{VIDEO}", "meta/episodes")}
    return {
        "episode_index": part.first_sample + len(before),
        "tasks": [task],
        "length": len(sample),
        "dataset_from_index": start,
        "dataset_to_index": start + len(sample),
        **places,
        f"videos/{VIDEO}/from_timestamp": float(in_file / fps),
        f"videos/{VIDEO}/to_timestamp": float((in_file + len(sample)) / fps),
        "mien/clip_id": sample.clip_id,
        "mien/track": sample.track,
        "mien/source_uri": sample.row["source_uri"],
        **{f"mien/{name}": sample.row.get(name) or "" for name in ("subject", "keyword", "text", "labels")},
    }


def _pictures(dataset: Dataset, part: Part, statistics: dict[str, Statistics]) -> Iterator[np.ndarray]:
    """Crops of all samples, one after the other; some of those with a face are counted on the way."""
    counted = statistics.setdefault(VIDEO, Statistics((3,)))
    for sample in samples(dataset, part):
        face = np.asarray(sample["face"])
        for row, rgb in enumerate(pixels(sample, dataset.crop_size_px)):
            if face[row] and row % _SAMPLED_EVERY == 0:
                counted.add(rgb[::_SAMPLED_PX, ::_SAMPLED_PX].reshape(-1, 3) / 255)
            yield rgb


def _per_channel(key: str, value: list[float]) -> Any:
    """[3] as LeRobot has it for pictures: [3, 1, 1]."""
    return value if key == "count" else [[[item]] for item in value]


def _tasks(tasks: list[str]) -> bytes:
    """A table whose index, for pandas, is the text of the task."""
    columns = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
        {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object"},
    ]
    meta = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [{**column, "metadata": None} for column in columns],
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": tasks})
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(meta)}), sink)
    return bytes(sink.getvalue())
