"""The stages as Ray calls them: each takes and gives the rows of `sink.CROSSING`, and counts what it did."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from mien.datasets.effort import Busy, Stopwatch
from mien.datasets.frames import deserialize, serialize, values_of, with_column
from mien.errors import ClipError, FaceError, LimitExceeded, MediaError, Unavailable
from mien.faces.detect import BlazeFace
from mien.faces.landmarks import Landmarker
from mien.features.extractor import Extractor
from mien.features.registry import Resolved, build
from mien.pipelines.cap import give_back, leave_no_core, memory_cap
from mien.pipelines.cut import Cutter
from mien.pipelines.handout import clips_of
from mien.pipelines.sink import BUSY, CLIP, FAILURE, FRAMES, HOSTS, crossing_row, failure_of
from mien.pipelines.watchdog import process_ends_after
from mien.video.probe import VideoInfo

CUT, FEATURES = "cut", "features"

MAX_DEATHS = 3
"""Workers that a clip may cost; a machine that is taken away looks the same, so one is too few."""

HARD = 2.0
"""Of its time a clip may take this much before its process is ended: by then it has met no frame to stop at."""


def names(config: Any) -> list[str]:
    """The stages of a run, in their order."""
    return [CUT, *([FEATURES] if config.features is not None else [])]


class CutStage:
    """Cuts clips; the detector and landmarker are made once per process and kept."""

    def __init__(self, config: Any, model_files: Any, tally: Any) -> None:
        """Take the config and references: what is sent with every task stays small."""
        self._config, self._model_files, self._tally = config, model_files, tally

    def __call__(self, tasks: pa.Table) -> Iterator[pa.Table]:
        """Tasks of clips in, one clip after the other out."""
        for clip in clips_of(tasks):
            started = time.perf_counter()
            num_deaths = _begin(self._tally, clip) - 1
            with process_ends_after(HARD * self._config.workers.clip_timeout_s):
                row, num_frames, failure = self.cut(clip) if num_deaths < MAX_DEATHS else quarantined(clip, num_deaths)
            self._tally.end.remote(clip["clip_id"])
            self._tally.add.remote(CUT, num_frames, time.perf_counter() - started, failure, _worker())
            yield row
            del row
            give_back()

    def cut(self, clip: Mapping[str, Any]) -> tuple[pa.Table, int, str]:
        """Cut one clip; see `cut_row`."""
        return cut_row(_cutter(self._config, self._model_files), clip, self._config.workers.cut.clip_memory_bytes)


@cache
def _worker() -> str:
    """What a person needs in order to look at this process."""
    return f"{socket.gethostname()} (pid {os.getpid()})"


def _begin(tally: Any, clip: Mapping[str, Any]) -> int:
    """Which attempt at the clip this is; 1 if the machine with the counts is gone, for the clip does not need them."""
    try:
        return int(ray.get(tally.begin.remote(clip["clip_id"], clip["source_uri"], _worker())))
    except ray.exceptions.RayError:
        return 1


def quarantined(clip: Mapping[str, Any], num_deaths: int) -> tuple[pa.Table, int, str]:
    """The failure of a clip that ended its workers: Ray would try it again without end."""
    reason = f"ended its worker {num_deaths} times (a crash, too little memory, or twice workers.clip_timeout_s)"
    remedy = "leave it out, or raise workers.cut.memory_gb or the time and use --retry-failed"
    failure = failure_of(clip, CUT, ClipError(f"{clip['source_uri']}: {reason}; {remedy}"))
    return crossing_row(clip, failure=failure), 0, failure["error"]


@cache
def _cutter(config: Any, model_files: Any) -> Cutter:
    leave_no_core()
    return load_cutter(config, ray.get(model_files))


def load_cutter(config: Any, files: Mapping[str, bytes]) -> Cutter:
    """The cutter of a config, with its models loaded from the bytes of their files."""
    landmarker = Landmarker(files["face_landmarker"], config.landmarks) if config.landmarks else None
    detector = BlazeFace(files["face_detector"], config.faces.detector)
    return Cutter(config, config.limits, detector, landmarker, config.workers.clip_timeout_s)


def cut_row(cutter: Cutter, clip: Mapping[str, Any], max_bytes: int | None = None) -> tuple[pa.Table, int, str]:
    """Cut one clip in so much memory; whatever goes wrong with it becomes its failure: no other clip is touched.

    Raises:
        Unavailable: The bucket did not answer: no clip would fare better, and this one is not to blame.
    """
    watch = Stopwatch()
    try:
        with memory_cap(max_bytes):
            cut = cutter(clip)
            frames = serialize(cut.frames)
            facts = {**_facts(cut.info), **(cutter.sound.facts if cutter.sound else {})}
    except MemoryError:
        reason = "needs more memory than workers.cut.clip_memory_gb; plan shorter clips, or raise it and --retry-failed"
        failure = failure_of(clip, CUT, LimitExceeded(f"{clip['source_uri']}: {reason}"), cutter.thumbs.middle())
    except ClipError as error:
        kinds = {"decode": MediaError, "faces": FaceError, "plan": ClipError}
        stage = next(stage for stage, kind in kinds.items() if isinstance(error, kind))
        failure = failure_of(clip, stage, error, cutter.thumbs.middle())
    except Unavailable:
        raise
    except Exception as defect:  # noqa: BLE001  a defect met on one video must not end the run of a thousand others
        reason = f"{type(defect).__name__}: {defect}; a defect of mien, please report it"
        failure = failure_of(clip, CUT, ClipError(f"{clip['source_uri']}: {reason}"), cutter.thumbs.middle())
    else:
        return crossing_row(spent({**clip, **facts}, CUT, watch.read()), frames), cut.frames.num_rows, ""
    return crossing_row(spent(clip, CUT, watch.read()), failure=failure), 0, failure["error"]


def spent(clip: Mapping[str, Any], stage: str, busy: Busy) -> dict[str, Any]:
    """The clip with the time that a stage took over it on this machine; the sink moves it to the commit record."""
    hosts = {*clip.get(HOSTS, ()), _host()}
    return {**clip, BUSY: {**clip.get(BUSY, {}), stage: busy.plain()}, HOSTS: sorted(hosts)}


@cache
def _host() -> str:
    """Tells machines apart without naming them: datasets are handed on."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _facts(info: VideoInfo) -> dict[str, Any]:
    """What the index keeps of a video."""
    return {
        "width_px": info.width_px,
        "height_px": info.height_px,
        "rotation_deg": info.rotation_deg,
        "fps": float(info.fps),
        "is_vfr": info.is_vfr,
        "source_duration_s": info.duration_s or None,
        "source_num_frames": info.num_frames or None,
        "source_codec": info.codec,
        "time_base_num": info.time_base.numerator,
        "time_base_den": info.time_base.denominator,
    }


def pin_dtype(extractor: Resolved, standing: Any, demands: Mapping[str, Any]) -> Resolved:
    """One dtype for the whole dataset: what earlier runs used, or for `auto` what a worker's machine is good at."""
    if extractor.config.dtype != "auto":
        return extractor
    dtype = standing
    if dtype is None:
        dtype = ray.get(ray.remote(_auto_dtype).options(**{**demands, "num_cpus": 0}).remote())
    return extractor.with_dtype(dtype)


def _auto_dtype() -> str:
    import torch

    from mien.features.network import choose_dtype

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return str(choose_dtype("auto", device)).removeprefix("torch.")


class FeatureStage:
    """Adds the feature of every crop; forward passes are filled across the clips of a batch."""

    def __init__(self, resolved: Resolved, weights: Any, tally: Any) -> None:
        """Load the network from weights that came through Ray: no worker needs the driver's disk."""
        self._extractor: Extractor = build(resolved, ray.get(weights))
        self._num_gpus = ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0)
        self._tally = tally

    def __call__(self, clips: pa.Table) -> pa.Table:
        """The same clips; those that failed before pass through."""
        watch = Stopwatch(self._num_gpus)
        failures = clips.column(FAILURE).to_pylist()
        tables = [
            None if failure else deserialize(payload.as_buffer())
            for failure, payload in zip(failures, clips.column(FRAMES), strict=True)
        ]
        present = [table for table in tables if table is not None]
        added = iter(add_features(present, self._extractor))
        busy, rows = watch.read(), []
        for clip, failure, table in zip(clips.column(CLIP).to_pylist(), failures, tables, strict=True):
            if table is None:
                rows.append(crossing_row(json.loads(clip), failure=json.loads(failure)))
            else:
                clip_row = spent(json.loads(clip), FEATURES, busy * (1 / len(present)))
                rows.append(crossing_row(clip_row, serialize(next(added))))
        self._count(present, busy.wall_s)
        return pa.concat_tables(rows)

    def _count(self, tables: list[pa.Table], busy_s: float) -> None:
        for table in tables:
            self._tally.add.remote(FEATURES, table.num_rows, busy_s / len(tables), "", _worker())


def add_features(tables: list[pa.Table], extractor: Extractor) -> list[pa.Table]:
    """Features of every crop of several clips: float32 [num_frames, *shape], NaN where a frame has no crop."""
    columns = [np.full((table.num_rows, *extractor.shape), np.nan, np.float32) for table in tables]
    with_crop = [np.flatnonzero(np.asarray(values_of(table, "face")) > 0) for table in tables]
    places = [(number, int(row)) for number, rows in enumerate(with_crop) for row in rows]
    crops = [values_of(table, "crop") for table in tables]
    size = extractor.batch_size
    for start in range(0, len(places), size):
        part = places[start : start + size]
        pixels = np.concatenate([_pixels(crops[number], row) for number, row in part])
        for (number, row), feature in zip(part, extractor(pixels), strict=True):
            columns[number][row] = feature
    return [with_column(table, "feature", column) for table, column in zip(tables, columns, strict=True)]


def _pixels(crops: Any, row: int) -> np.ndarray:
    """One crop, uint8 [1, size, size, 3]."""
    if isinstance(crops, np.ndarray):
        return crops[row : row + 1]
    from mien.faces.crop import decode_jpeg

    return decode_jpeg(crops[row])[None]
