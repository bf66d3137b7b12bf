"""Peak memory of the pipeline's workers over ten times as many videos: it must not grow with them."""

import os
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from bench_serialize import SHARED

from mien.pipelines.cluster import ClusterConfig, session
from mien.pipelines.serialize import SerializeConfig, serialize

FEW, MANY, REPEATS = 4, 40, 5
"""Copies of the shared videos, and how often each is measured."""


def _copies(folder: Path, count: int) -> Path:
    """The shared videos `count` times, under other names."""
    for video in (SHARED / "faces").glob("*.mp4"):
        for number in range(count):
            shutil.copyfile(video, folder / f"{video.stem}-{number}.mp4")
    return folder


class Peak:
    """Largest private memory of any one worker process of this Ray, MB, looked at twice a second."""

    def __init__(self) -> None:
        self.worker_mb = 0.0
        self.driver_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        driver = psutil.Process()
        while not self._stop.wait(0.5):
            self.driver_mb = max(self.driver_mb, _private_mb(driver))
            for process in driver.children(recursive=True):
                if process.name().startswith("ray::"):
                    self.worker_mb = max(self.worker_mb, _private_mb(process))


def _private_mb(process: psutil.Process) -> float:
    """Resident memory without the shared object store, which is bounded by itself."""
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0.0
    return (memory.rss - memory.shared) / 1e6


def _peak(count: int) -> Peak:
    with tempfile.TemporaryDirectory() as folder, session(ClusterConfig(address="local")), Peak() as peak:
        videos = Path(folder) / "videos"
        videos.mkdir()
        places = {"source": str(_copies(videos, count)), "output": f"{folder}/out"}
        serialize(SerializeConfig.parse({"fps": 1, "preview": {"max_clips": 1}, **places}, "bench"))
    return peak


def run() -> Iterator[dict[str, Any]]:
    """Worker memory with forty copies of the shared videos ÷ with four."""
    os.environ.setdefault("MIEN_ASSETS", str(SHARED / "models"))
    few, many = [], []
    for _ in range(REPEATS):
        few.append(_peak(FEW))
        many.append(_peak(MANY))
    ours, other = (statistics.median(peak.worker_mb for peak in peaks) for peaks in (many, few))
    driver = [round(statistics.median(peak.driver_mb for peak in peaks)) for peaks in (many, few)]
    print(f"memory: driver {driver[0]} MB with {MANY} copies, {driver[1]} MB with {FEW}", file=sys.stderr)
    yield {
        "bench": "memory.workers",
        "ratio": ours / other,
        "bound": 1.15,
        "better": "lower",
        "ours": ours,
        "other": other,
        "unit": "MB",
    }
