"""A few planned clips go through the stages of the job for real, so that an estimate rests on what was measured.

It runs in a process of its own, with the environment of a worker: a video that ends its process does not end
`mien plan`, a hang has an end, and nothing is fetched. `python -m mien.pipelines.trial` reads JSON and writes JSON.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mien import assets
from mien.datasets.effort import Busy, Stopwatch
from mien.datasets.frames import deserialize, serialize, values_of
from mien.errors import ClipError, MediaError, MienError, StorageError, Unavailable
from mien.features.extractor import Extractor
from mien.features.registry import build, resolve
from mien.pipelines import stages
from mien.pipelines.cluster import WORKER_ENVIRONMENT
from mien.pipelines.cut import Cutter
from mien.pipelines.sink import BUSY, CLIP, FRAMES, WRITE, Target, write_clips
from mien.storage.commit import new_write_id, read_commits
from mien.storage.source import opened
from mien.storage.uri import Entry, open_store
from mien.video.limits import LimitsConfig
from mien.video.probe import probe

_PILOT_S = 1.0
"""Seconds of video that tell how many more fit into the time."""

_LOAD_S = 180.0
"""Time that loading libraries and models may take, and the last clip beyond its share."""


class Tried(NamedTuple):
    """A clip, or the middle of a long one, after the stages of the job."""

    video_s: float
    num_frames: int
    """Rows that it makes: one per frame and face track."""
    busy: dict[str, Busy]
    """By stage before the sink, for all its frames, also where only some went through the extractor."""
    frame_bytes: float
    """On disk, all its frames without the small pictures of the whole frame."""
    thumb_bytes: float
    """Of those pictures, of which a clip of any length has about as many."""
    shard_bytes: float
    """What its shard has beyond its content: HDF5 gives every column whole chunks."""
    written_bytes: int
    """Size of that shard, which holds the frames that went through all stages."""
    write: Busy
    """Time that writing, reading back and committing it took."""


class Trial(NamedTuple):
    """What was tried, and what came of it."""

    tried: list[Tried]
    failures: list[str]
    """Messages of the clips that could not be made."""
    open_s: float
    """Seconds of video in the clips that end where their video does, of those that were looked at."""
    open_bytes: int
    """Size of these videos."""
    num_gpus: int
    """GPUs of this machine that torch can use."""
    took_s: float
    """Wall-clock time, loading included."""


def isolated(config: Any, clips: Sequence[Mapping[str, Any]]) -> Trial:
    """Try clips in a process of its own.

    Args:
        config: A `SerializeConfig`; its `estimate` says how many clips and how long.
        clips: Rows of the plan, those to be tried first in front.

    Raises:
        MienError: Nothing could be measured; the message says why.
    """
    job = json.dumps({"config": config.dump(), "clips": [dict(clip) for clip in clips]})
    limit_s = 2 * config.estimate.max_s + _LOAD_S
    command = [sys.executable, "-m", "mien.pipelines.trial"]
    environment = {**os.environ, **WORKER_ENVIRONMENT, **_gpus_of(config)}
    try:
        ended = subprocess.run(
            command, input=job, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise MienError(f"trying a few clips did not end within {limit_s:.0f} s; raise estimate.max_s") from None
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise MienError(f"the process that tried a few clips ended with code {ended.returncode} ({last})")
    return _from_json(ended.stdout)


def _gpus_of(config: Any) -> dict[str, str]:
    """As Ray does it: a worker that asks for no GPU sees none."""
    return {} if config.features and config.workers.features.num_gpus else {"CUDA_VISIBLE_DEVICES": ""}


def _from_json(text: str) -> Trial:
    values = json.loads(text)
    if "reason" in values:
        raise MienError(values["reason"])
    tried = [
        Tried(
            **{**each, "busy": {key: Busy(*busy) for key, busy in each["busy"].items()}, "write": Busy(*each["write"])}
        )
        for each in values.pop("tried")
    ]
    return Trial(tried, **values)


def main() -> None:
    """Read a job from stdin, and write its trial, or the reason why there is none, to stdout."""
    from mien.pipelines.serialize import SerializeConfig  # which holds the config of an estimate, so not at the top

    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print
    job = json.load(sys.stdin)
    try:
        answer = _plain(run(SerializeConfig.parse(job["config"], "config"), job["clips"]))
    except MienError as error:
        answer = {"reason": str(error).partition("\n")[0]}
    with os.fdopen(out, "w") as result:
        json.dump(answer, result)


def _plain(trial: Trial) -> dict[str, Any]:
    tried = [
        {**each._asdict(), "busy": {key: busy.plain() for key, busy in each.busy.items()}, "write": each.write.plain()}
        for each in trial.tried
    ]
    return {**trial._asdict(), "tried": tried}


def run(config: Any, clips: Sequence[Mapping[str, Any]]) -> Trial:
    """Try clips in this process.

    Raises:
        AssetError: A model file cannot be had.
        Unavailable: The bucket did not answer.
    """
    started = time.monotonic()
    names = ["face_detector", *(["face_landmarker"] if config.landmarks else [])]
    cutter = stages.load_cutter(config, {name: assets.read(name) for name in names})
    extractor = build(resolve(config.features)) if config.features else None
    unended = [clip for clip in clips if math.isinf(clip["end_s"])]
    lengths = [_span(clip, config.limits).length_s for clip in unended]
    with tempfile.TemporaryDirectory(prefix="mien-") as folder:
        tried, failures = try_some(Trier(config, cutter, extractor, Path(folder)), clips, config.estimate)
    open_bytes = sum(clip["source_bytes"] for clip in unended)
    took_s = time.monotonic() - started
    return Trial(tried, failures, sum(lengths), open_bytes, _num_gpus(extractor), took_s)


def _num_gpus(extractor: Extractor | None) -> int:
    if extractor is None:
        return 0
    import torch

    return torch.cuda.device_count()


class Span(NamedTuple):
    """Where a clip lies in its video."""

    start_s: float
    length_s: float
    """0 where the video does not say, or cannot be read."""


def _span(clip: Mapping[str, Any], limits: LimitsConfig) -> Span:
    if math.isfinite(clip["end_s"]):
        return Span(clip["start_s"], clip["end_s"] - clip["start_s"])
    uri = str(clip["source_uri"])
    try:
        with opened(uri, Entry(uri, clip["source_bytes"], clip["source_generation"])) as source:
            info = probe(source, limits)
    except Unavailable:
        raise
    except (MediaError, StorageError):
        return Span(0.0, 0.0)
    start_s = max(info.start_s, clip["start_s"])
    return Span(start_s, max(0.0, info.start_s + info.duration_s - start_s))


def try_some(trier: "Trier", clips: Iterable[Mapping[str, Any]], config: Any) -> tuple[list[Tried], list[str]]:
    """Try clips in their order until enough are made or the time is up; also the messages of those that failed."""
    tried, failures = list[Tried](), list[str]()
    until = time.monotonic() + config.max_s
    for clip in clips:
        left_s, num_left = until - time.monotonic(), config.num_clips - len(tried)
        if not num_left or left_s <= 0:
            break
        try:
            tried.append(trier(clip, left_s / num_left))
        except ClipError as error:
            failures.append(str(error))
    return tried, failures


class Trier:
    """Takes one clip after the other through the stages, with the models of a worker."""

    def __init__(self, config: Any, cutter: Cutter, extractor: Extractor | None, folder: Path) -> None:
        """Write shards below a folder that the caller removes."""
        self._config, self._cutter, self._extractor, self._folder = config, cutter, extractor, folder
        self._max_bytes = config.workers.cut.clip_memory_bytes
        self._num_gpus = config.workers.features.num_gpus if _num_gpus(extractor) else 0.0
        self._frame_s = 0.0 if extractor is None else self._warm(extractor)

    def _warm(self, extractor: Extractor) -> float:
        """Seconds that the extractor takes for one frame, after a first one."""
        size_px = self._config.crop.size_px
        for _ in range(2):
            watch = Stopwatch()
            extractor(np.zeros((1, size_px, size_px, 3), np.uint8))
        return watch.read().wall_s

    def __call__(self, clip: Mapping[str, Any], budget_s: float) -> Tried:
        """Try one clip, or as much from the middle of it as fits into about the time.

        Raises:
            ClipError: It cannot be made.
        """
        share_s = budget_s / (1 if self._extractor is None else 2)
        row, video_s = self._cut(clip, _span(clip, self._config.limits), share_s)
        frames = deserialize(row.column(FRAMES)[0].as_buffer())
        facts = json.loads(row.column(CLIP)[0].as_py())
        busy = {stages.CUT: Busy(*facts[BUSY][stages.CUT])}
        part = frames
        if self._extractor is not None:
            part, busy[stages.FEATURES] = self._add_features(self._extractor, frames, share_s)
            busy[stages.FEATURES] *= frames.num_rows / part.num_rows
        written_bytes, write = self._write(facts, part)
        content_bytes = min(written_bytes, part.nbytes)
        frame_bytes = (content_bytes - _thumb_bytes(part)) * frames.num_rows / part.num_rows
        sizes = frame_bytes, _thumb_bytes(frames), written_bytes - content_bytes, written_bytes
        return Tried(video_s, frames.num_rows, busy, *sizes, write)

    def _cut(self, clip: Mapping[str, Any], span: Span, budget_s: float) -> tuple[pa.Table, float]:
        """Cut a second, and then as much as fits; the row between two stages, and the seconds of video in it."""
        watch, piece_s = Stopwatch(), min(span.length_s, _PILOT_S)
        row, _, failure = stages.cut_row(self._cutter, _middle(clip, span, piece_s), self._max_bytes)
        fitting_s = min(span.length_s, piece_s * (budget_s / watch.read().wall_s - 1))
        if fitting_s > piece_s:
            piece_s = fitting_s
            row, _, failure = stages.cut_row(self._cutter, _middle(clip, span, piece_s), self._max_bytes)
        if failure or not piece_s:
            raise ClipError(failure or f"{clip['source_uri']}: does not say how long it is")
        return row, piece_s

    def _add_features(self, extractor: Extractor, frames: pa.Table, budget_s: float) -> tuple[pa.Table, Busy]:
        """As many frames from the middle as fit, with their features."""
        num_rows = max(1, min(frames.num_rows, int(budget_s / self._frame_s)))
        watch = Stopwatch(self._num_gpus)
        (part,) = stages.add_features([frames.slice((frames.num_rows - num_rows) // 2, num_rows)], extractor)
        return part, watch.read()

    def _write(self, facts: dict[str, Any], frames: pa.Table) -> tuple[int, Busy]:
        """Write, verify and commit a shard; its size, and the time it took."""
        store = open_store(str(self._folder / new_write_id()))
        write_clips(Target(store.uri, "trial", self._config.format, {}), [(facts, serialize(frames), {})])
        record = next(read_commits(store))
        return record["files"][0]["size_bytes"], Busy(*record["effort"]["busy"][WRITE])


def _middle(clip: Mapping[str, Any], span: Span, length_s: float) -> Mapping[str, Any]:
    """A clip of the given length in the middle of one; the clip itself if it is no longer."""
    if length_s >= span.length_s:
        return clip
    start_s = span.start_s + (span.length_s - length_s) / 2
    return {**clip, "start_s": start_s, "end_s": start_s + length_s}


def _thumb_bytes(frames: pa.Table) -> int:
    return sum(map(len, values_of(frames, "thumb")))


if __name__ == "__main__":
    main()
