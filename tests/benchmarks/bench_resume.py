"""A million planned clips, 990,000 of them done: how long until the rest is known, and what the driver needs for it.

And a run that is killed in the middle: how many clips its successor cuts again, of those that were in flight.

The commit records are made here, as the sink writes them; the shards that they name are not there, since neither a
resume nor the index reads them. Each number comes from a fresh process that does nothing else.
"""

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
from bench_serialize import SHARED

from mien import schema
from mien.clips.clip import Clip, Source
from mien.datasets import index
from mien.pipelines.handout import drop_done, pending
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.local import LocalStore

MANY, FEW = 1_000_000, 100_000
PERCENT_DONE = 99
CLIPS_PER_RECORD, CLIPS_PER_SOURCE = 100, 200
RESUME_S = 60.0
BUCKET, KILLED_CLIPS = "bench", 90
REPEATS = 3


def clips(count: int) -> Iterator[Clip]:
    """Clips of ten seconds in the order of their sources."""
    for number in range(count):
        source, part = divmod(number, CLIPS_PER_SOURCE)
        path = f"/videos/recordings/day-{source // 100:03d}/camera-{source:06d}.mp4"
        yield Clip(Source(path, 10**9 + source, 7, f"s{source}"), 10.0 * part, 10.0 * part + 10, "stride 10/10 s")


def make(folder: Path, count: int) -> None:
    """A plan, and the records of all of it but the end; one clip in four thousand failed."""
    store = LocalStore(folder)
    index.write_plan(store, (clip.to_row() for clip in clips(count)))
    (folder / "commits").mkdir()
    batch = list[Clip]()
    for clip in clips(count * PERCENT_DONE // 100):
        batch.append(clip)
        if len(batch) == CLIPS_PER_RECORD:
            write_record(folder, batch)
            batch = []


def write_record(folder: Path, batch: list[Clip]) -> None:
    """A commit record under a name that has nothing to do with the order of the plan."""
    name = batch[0].clip_id
    file = {"name": f"data/{name}.parquet", "size_bytes": 10**8, "crc32c": "0" * 8, "sha256": os.urandom(32).hex()}
    failed = [clip for clip in batch if clip.clip_id.startswith("000")]
    samples = [sample(clip, file["name"], row) for row, clip in enumerate(batch) if clip not in failed]
    reason = {"stage": "faces", "error_type": "FaceError", "error": "no face in any of 250 frames", "thumb": ""}
    record = {"shard": name, "write_id": name, "files": [file], "samples": samples}
    record |= {"failures": [{**clip.to_row(), **reason} for clip in failed], "models": {}, "finished_at": 0.0}
    (folder / "commits" / f"{name}.json").write_text(json.dumps(record))


def sample(clip: Clip, file: str, row: int) -> dict[str, Any]:
    """One row of the index with a checksum per column of a frame: 1.4 kB of JSON."""
    sums = {column.name: os.urandom(32).hex() for column in schema.FRAMES}
    facts = {"track": 0, "width_px": 1920, "height_px": 1080, "rotation_deg": 0, "fps": 25.0, "is_vfr": False}
    facts |= {"time_base_num": 1, "time_base_den": 12800, "num_frames": 250, "num_detected": 240}
    return {**clip.to_row(), **facts, "file": file, "row_start": 250 * row, "row_stop": 250 * row + 250} | {
        "checksums": json.dumps(sums)
    }


def to_first_clip(folder: Path) -> int:
    """What a resumed run does until it has the first clip to run, without Ray; returns how many there are."""
    store = LocalStore(folder)
    left = pending(store, retry_failed=False)
    first = left.slices[0]
    part = index.read_parquet(store, first.file).slice(first.start, first.stop - first.start)
    assert drop_done(part, left.skip).num_rows
    return left.num_left


def build(folder: Path) -> int:
    """Index and failures; returns how many rows both have."""
    with tempfile.TemporaryDirectory() as scratch:
        return sum(table.num_rows for table in index.build(LocalStore(folder), Path(scratch)).open())


def plan(folder: Path) -> int:
    """Write a plan of a million clips into a folder of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        return index.write_plan(LocalStore(Path(scratch)), (clip.to_row() for clip in clips(MANY)))


class Peak:
    """Largest private memory of this process above that at the start, MB, looked at a hundred times a second."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._start_mb = self._now_mb()
        self.growth_mb = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.growth_mb = max(self.growth_mb, self._now_mb() - self._start_mb)

    def _now_mb(self) -> float:
        memory = self._process.memory_info()
        return (memory.rss - memory.shared) / 1e6


TASKS = {"to_first_clip": to_first_clip, "build": build, "plan": plan}


def measured(task: str, folder: Path) -> dict[str, float]:
    """Seconds, growth of memory and result of a task in a fresh process."""
    command = [sys.executable, __file__, task, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    print(f"resume: {task} {found}", file=sys.stderr)
    return found


def run_task(task: str, folder: Path) -> dict[str, float]:
    """The same in this process."""
    with Peak() as peak:
        started = time.perf_counter()
        result = TASKS[task](folder)
        seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 2), "growth_mb": round(peak.growth_mb, 1), "result": result}


def killed() -> dict[str, Any]:
    """Clips cut again after kill -9 of a driver ÷ clips that were cut and not committed then.

    Each video is one clip and read whole, so that the emulator knows how often each was begun.
    """
    from command_line import start_job  # not beside this file, which children run as a script

    with tempfile.TemporaryDirectory() as folder, Emulator() as emulator:
        places = {"STORAGE_EMULATOR_HOST": emulator.url, "MIEN_ASSETS": str(SHARED / "models")}
        os.environ |= places
        emulator.create_bucket(BUCKET)
        store = GcsStore(f"gs://{BUCKET}/videos")
        for number in range(KILLED_CLIPS):
            store.replace(f"{number:03d}.mp4", (SHARED / "faces" / "d18.mp4").read_bytes())
        emulator.faults([{"match": "GET .*videos%2F.*alt=media", "fault": "stall:0", "times": 1_000_000}])
        words = (f"source={store.uri}", f"output={folder}/out", "fps=5", "crop.size_px=64", "min_shard_mb=0.2")
        in_flight = _kill_in_the_middle(start_job(*words, "fetch=whole"), emulator, Path(folder) / "out")
        again = start_job(*words, "fetch=whole")
        _, err = again.communicate()
        assert again.returncode == 0, err[-2000:]
        repeated = len(emulator.fired()) - 2 - KILLED_CLIPS  # each start reads one video to see that it may
    print(f"resume: {KILLED_CLIPS} clips, killed with {in_flight} in flight, {repeated} cut again", file=sys.stderr)
    return _line("resume.repeated", repeated, in_flight, 1.0, "clips")


def _kill_in_the_middle(job: "subprocess.Popen[str]", emulator: Emulator, output: Path) -> int:
    """Kill a job once a third of its clips is committed; how many it had begun and not committed."""
    while (num_committed := sum(map(_num_clips, output.glob("commits/*.json")))) < KILLED_CLIPS // 3:
        assert job.poll() is None, job.communicate()[1][-2000:]
        time.sleep(0.05)
    job.kill()
    job.communicate()
    return len(emulator.fired()) - 1 - num_committed


def _num_clips(record: Path) -> int:
    return len(json.loads(record.read_bytes())["samples"])


def run() -> Iterator[dict[str, Any]]:
    """Clips cut again; time to the first new clip; memory of the index over ten times as many, and of the plan."""
    yield killed()
    with tempfile.TemporaryDirectory() as folder:
        many, few = Path(folder) / "many", Path(folder) / "few"
        make(many, MANY)
        make(few, FEW)
        times = [measured("to_first_clip", many) for _ in range(REPEATS)]
        assert all(found["result"] == MANY * (100 - PERCENT_DONE) // 100 for found in times), "the wrong clips are left"
        yield _line("resume", statistics.median(found["seconds"] for found in times), 1.0, RESUME_S, "s")
        ours, other = ([measured("build", place) for _ in range(REPEATS)] for place in (many, few))
        growth = [statistics.median(found["growth_mb"] for found in each) for each in (ours, other)]
        yield _line("resume.index_memory", *growth, 1.5, "MB")
        yield _line("resume.plan_memory", measured("plan", Path(folder))["growth_mb"], 1.0, 150.0, "MB")


def _line(bench: str, ours: float, other: float, bound: float, unit: str) -> dict[str, Any]:
    """Where `other` is one second or one MB, the ratio is the number itself."""
    result = {"bench": bench, "ratio": round(ours / other, 3), "bound": bound, "better": "lower"}
    return result | {"ours": ours, "other": other, "unit": unit}


if __name__ == "__main__":
    print(json.dumps(run_task(sys.argv[1], Path(sys.argv[2]))))
