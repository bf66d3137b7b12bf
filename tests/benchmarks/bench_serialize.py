"""The pipeline against a straight-line script that does the same work in one process, in steady state.

The script calls the same rooms in a loop, without Ray. Starting Ray, its workers and the network is left out on both
sides: ours is the time of a run over many clips less that of a run over one clip per video, in one warm session.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien import assets
from mien.datasets.frames import deserialize
from mien.datasets.frames import serialize as to_ipc
from mien.faces.detect import BlazeFace
from mien.features.registry import build, resolve
from mien.pipelines.cluster import ClusterConfig, session
from mien.pipelines.cut import Cutter
from mien.pipelines.plan import preview_plan
from mien.pipelines.serialize import SerializeConfig, serialize
from mien.pipelines.sink import CLIP, FRAMES, Target, write_clips
from mien.pipelines.stages import add_features, cut_row

SHARED = Path(os.environ.get("MIEN_SHARED", Path(__file__).parents[3] / "shared")) / "data"
FEATURES = {"kind": "dinov2", "weights": "random", "size_px": 224, "batch_size": 16}
"""ViT-S at 224 px; random weights cost what trained ones cost."""
REPEATS = 5
ONE_PER_VIDEO_S = 1000.0


def config(folder: Path, length_s: float, stride_s: float, **values: Any) -> SerializeConfig:
    """Clips of the shared videos; the shorter their distance, the more there are."""
    clips = {"kind": "stride", "length_s": length_s, "stride_s": stride_s, "min_length_s": length_s}
    places = {"source": str(SHARED / "faces"), "output": str(folder)}
    return SerializeConfig.parse({"clips": clips, "preview": {"max_clips": 1}, **places, **values}, "bench")


def straight_line(values: SerializeConfig) -> Callable[[], int]:
    """The script: one process, one loop; models are loaded before the clock starts."""
    cutter = Cutter(values, values.limits, BlazeFace(assets.read("face_detector"), values.faces.detector), None)
    extractor = build(resolve(values.features)) if values.features else None
    torch.set_num_threads(os.cpu_count() or 1)  # the session set one thread for workers; a script takes all it can get

    def script() -> int:
        _, rows = preview_plan(values, num_rows=10_000)
        counts = list[int]()
        with tempfile.TemporaryDirectory() as folder:
            clips = (_one_clip(cutter, extractor, row, counts) for row in rows)
            write_clips(Target(folder, "script", values.format, {}), clips)
        return sum(counts)

    return script


def _one_clip(cutter: Cutter, extractor: Any, row: dict[str, Any], counts: list[int]) -> Any:
    cut, num_frames, failure = cut_row(cutter, row)
    if failure:
        raise RuntimeError(failure)
    counts.append(num_frames)
    payload = cut.column(FRAMES)[0].as_buffer()
    if extractor is not None:
        payload = to_ipc(add_features([deserialize(payload)], extractor)[0])
    return json.loads(cut.column(CLIP)[0].as_py()), payload, {}


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _pipeline_rate(length_s: float, stride_s: float, **values: Any) -> float:
    """Frames per second between a run over one clip per video and a run over many."""
    reports, times = [], []
    for distance in (ONE_PER_VIDEO_S, stride_s):
        with tempfile.TemporaryDirectory() as folder:
            run = config(Path(folder) / "out", length_s, distance, **values)
            times.append(seconds(lambda run=run: reports.append(serialize(run))))
    return (reports[1].num_frames - reports[0].num_frames) / (times[1] - times[0])


def compare(bench: str, bound: float, length_s: float, stride_s: float, **values: Any) -> dict[str, Any]:
    """One ratio: pipeline ÷ script, medians of alternating turns."""
    ours, other = [], []
    with tempfile.TemporaryDirectory() as folder:
        script = straight_line(config(Path(folder) / "out", length_s, 2 * stride_s, **values))
        _pipeline_rate(length_s, stride_s, **values)  # fills caches, starts workers
        num_frames = script()
        for _ in range(REPEATS):
            ours.append(_pipeline_rate(length_s, stride_s, **values))
            other.append(num_frames / seconds(script))
    rates = statistics.median(ours), statistics.median(other)
    print(f"{bench}: spread {np.ptp(ours):.1f} and {np.ptp(other):.1f} frames/s", file=sys.stderr)
    return {
        "bench": bench,
        "ratio": rates[0] / rates[1],
        "bound": bound,
        "better": "higher",
        "ours": rates[0],
        "other": rates[1],
        "unit": "frames/s",
    }


def run() -> Iterator[dict[str, Any]]:
    """With features, without, and what crosses between the stages: JPEG against raw pixels.

    Clips of half a second and of a second, because the shared videos are short and a run needs many clips.
    """
    os.environ.setdefault("MIEN_ASSETS", str(SHARED / "models"))
    with session(ClusterConfig(address="local")):
        yield compare("serialize.features", 0.9, 0.5, 1.5, features=FEATURES, crop={"size_px": 224})
        yield compare("serialize.plain", 1.3, 1.0, 1.0)
        yield _boundary()


def _boundary() -> dict[str, Any]:
    """Crops as JPEG against raw pixels, through the same stages."""
    rates: dict[str, list[float]] = {"jpeg": [], "raw": []}
    for _ in range(REPEATS):
        for encoding, found in rates.items():
            found.append(_pipeline_rate(1.0, 2.0, crop={"encoding": encoding}))
    jpeg, raw = (statistics.median(rates[encoding]) for encoding in ("jpeg", "raw"))
    return {
        "bench": "serialize.boundary",
        "ratio": jpeg / raw,
        "bound": 0.9,
        "better": "higher",
        "ours": jpeg,
        "other": raw,
        "unit": "frames/s",
    }
