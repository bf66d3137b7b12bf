"""A plan of a million clips from a listing of a hundred thousand videos: time and memory of the whole command."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

NUM_SOURCES, CLIPS_PER_SOURCE = 100_000, 10
PLAN_S, PLAN_GB = 60.0, 1.0
REPEATS = 3
CORES = 2


def make_listing(path: Path) -> None:
    """What a listing of a bucket knows, with lengths and labels."""
    numbers = range(NUM_SOURCES)
    columns = {
        "source": [f"gs://recordings/day-{number // 100:04d}/session_{number:06d}/front.mp4" for number in numbers],
        "size_bytes": [10**8 + number for number in numbers],
        "generation": [1_700_000_000_000_000 + number for number in numbers],
        "duration_s": [30.0 + number % 600 for number in numbers],
        "subject": [str(number % 5000) for number in numbers],
        "age": [20 + number % 60 for number in numbers],
    }
    pq.write_table(pa.table(columns), path)


def plan(listing: Path, output: Path) -> dict[str, float]:
    """Seconds and peak resident GB of `mien plan` on two cores."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    words = [f"source={listing}", f"output={output}", "clips.kind=random", f"clips.num_clips={CLIPS_PER_SOURCE}"]
    command = [str(Path(sys.executable).parent / "mien"), "plan", *words, "--no-estimate", "--json"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: _use(cores))
    peak_gb, ended = [0.0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), ended, peak_gb))
    watcher.start()
    out, _ = process.communicate()
    seconds = time.perf_counter() - started
    ended.set()
    watcher.join()
    assert process.returncode == 0, f"mien plan ended with {process.returncode}"
    assert json.loads(out)["num_clips"] == NUM_SOURCES * CLIPS_PER_SOURCE, "the wrong clips"
    found = {"seconds": round(seconds, 2), "peak_gb": round(peak_gb[0], 3)}
    print(f"plan: {found}", file=sys.stderr)
    return found


def _use(cores: list[int]) -> None:
    os.sched_setaffinity(0, cores)


def _watch(process: psutil.Process, ended: threading.Event, peak_gb: list[float]) -> None:
    while not ended.wait(0.05):
        try:
            peak_gb[0] = max(peak_gb[0], process.memory_info().rss / 1e9)
        except psutil.Error:
            return


def run() -> Iterator[dict[str, Any]]:
    """Seconds and GB of the command; every run must write the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "listing.parquet"
        make_listing(listing)
        outputs = [Path(folder) / f"out{number}" for number in range(REPEATS)]
        found = [plan(listing, output) for output in outputs]
        first, *others = [[path.read_bytes() for path in sorted(output.glob("plan/*"))] for output in outputs]
        assert all(other == first for other in others), "the same inputs gave another plan"
        for name, key, bound, unit in (("plan", "seconds", PLAN_S, "s"), ("plan.memory", "peak_gb", PLAN_GB, "GB")):
            ours = statistics.median(each[key] for each in found)
            result = {"bench": name, "ratio": ours, "bound": bound, "better": "lower"}
            yield result | {"ours": ours, "other": 1.0, "unit": unit}
