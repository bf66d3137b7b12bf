"""Peak memory of workers over ten times as many videos, and of the driver over a hundred times as long a plan.

Neither must grow. The driver's is looked at while a plan of a million clips is handed out to workers that wait.
"""

import gc
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import ray
from bench_resume import clips
from bench_serialize import SHARED

from mien.datasets import index
from mien.pipelines.cluster import ClusterConfig, session
from mien.pipelines.handout import TaskSize, clips_of, handed_out, pending
from mien.pipelines.serialize import SerializeConfig, serialize
from mien.pipelines.stages import CUT
from mien.pipelines.tally import Tally
from mien.storage.local import LocalStore

FEW, MANY, REPEATS = 5, 50, 3
"""Copies of the eight shared videos, and how often each is measured."""
SHORT, LONG, WATCH_S, WAIT_S = 10_000, 1_000_000, 60.0, 0.02
"""Clips of two plans, how long the driver is watched while it hands them out, and what a clip takes."""


def _copies(folder: Path, count: int) -> Path:
    """The shared videos `count` times, under other names."""
    for video in (SHARED / "faces").glob("*.mp4"):
        for number in range(count):
            shutil.copyfile(video, folder / f"{video.stem}-{number}.mp4")
    return folder


class Peak:
    """Largest private memory of any one worker process of this Ray, MB, looked at ten times a second."""

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
        while not self._stop.wait(0.1):
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


class WaitStage:
    """Stands for cutting a clip."""

    def __init__(self, tally: Any) -> None:
        self._tally = tally

    def __call__(self, tasks: pa.Table) -> pa.Table:
        """The clips, told to the tally as the real stage does."""
        for clip in clips_of(tasks):
            ray.get(self._tally.begin.remote(clip["clip_id"]))
            time.sleep(WAIT_S)
            self._tally.end.remote(clip["clip_id"])
        return tasks


def _hand_out(num_clips: int) -> float:
    """Peak of this process, MB, while it hands out so long a plan for a minute."""
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        index.write_plan(store, (clip.to_row() for clip in clips(num_clips)))
        gc.collect()
        with session(ClusterConfig(address="local")), Peak() as peak:
            tally = ray.remote(Tally).options(num_cpus=0).remote([CUT])
            handed = handed_out(store.uri, pending(store, retry_failed=False), TaskSize(1))
            cut = handed.map_batches(WaitStage(tally), batch_size=1, batch_format="pyarrow", num_cpus=1)
            until = time.monotonic() + WATCH_S
            num_cut = sum(1 for _ in takewhile(lambda _: time.monotonic() < until, cut.iter_batches(batch_size=None)))
    print(f"memory: {num_cut} of {num_clips} clips in {WATCH_S:.0f} s", file=sys.stderr)
    return peak.driver_mb


def _driver_mb(num_clips: int) -> float:
    """The same in a fresh process."""
    done = subprocess.run([sys.executable, __file__, str(num_clips)], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def run() -> Iterator[dict[str, Any]]:
    """Driver memory with the long plan ÷ with the short one; worker memory with 400 clips ÷ with 40."""
    ours, other = (_driver_mb(num_clips) for num_clips in (LONG, SHORT))
    yield _line("memory.driver", ours, other)
    os.environ.setdefault("MIEN_ASSETS", str(SHARED / "models"))
    few, many = [], []
    for _ in range(REPEATS):
        few.append(_peak(FEW))
        many.append(_peak(MANY))
    ours, other = (statistics.median(peak.worker_mb for peak in peaks) for peaks in (many, few))
    driver = [round(statistics.median(peak.driver_mb for peak in peaks)) for peaks in (many, few)]
    print(f"memory: driver {driver[0]} MB with {MANY} copies, {driver[1]} MB with {FEW}", file=sys.stderr)
    yield _line("memory.workers", ours, other)


def _line(bench: str, ours: float, other: float) -> dict[str, Any]:
    sides = {"ours": ours, "other": other, "unit": "MB"}
    return {"bench": bench, "ratio": ours / other, "bound": 1.15, "better": "lower", **sides}


if __name__ == "__main__":
    print(_hand_out(int(sys.argv[1])))
