"""kill -9 at random moments, twenty times in a row, of whatever works on a cluster: nothing lost, nothing twice.

The driver is a process of its own that is started again when it was killed; nodes that were killed are replaced. The
videos are in a bucket and each is one clip, read whole, so that the emulator counts how often a clip was cut.
"""

import json
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster

import mien.datasets
from buckets import BUCKET
from command_line import TIMEOUT_S, start_job
from mien.datasets.verify import verify
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.uri import open_store

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

NUM_KILLS, NUM_COPIES, SEED = 20, 80, 20
POLL_S = 0.2
NODE = {"num_cpus": 2, "object_store_memory": 200_000_000}
WORKERS = {"cut": "ray::MapBatches(CutStage)", "features": "ray::MapWorker(MapBatches(FeatureStage"}
"""Victims that are processes of Ray's workers -> how their titles begin."""
VICTIMS = ("driver", "raylet", *WORKERS)

SETTINGS = (
    *("fps=5", "crop.size_px=64", "min_shard_mb=0", "fetch=whole"),
    *("features.kind=dinov2", "features.weights=random", "features.size_px=56", "features.dtype=float32"),
    "workers.clips_per_task=1",
)


@pytest.fixture
def cluster(emulator: Emulator) -> Iterator[Cluster]:
    """A head without CPUs and two nodes, ended by their own handles."""
    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            made.add_node(**NODE)
        yield made
    finally:
        made.shutdown()


@pytest.fixture
def source(emulator: Emulator, faces_dir: Path) -> Iterator[str]:
    """The two smallest shared videos, many times; every request for one is noted."""
    store = GcsStore(f"gs://{BUCKET}/killed")
    for name in ("d18", "d19"):
        for number in range(NUM_COPIES):
            store.replace(f"{name}-{number}.mp4", (faces_dir / f"{name}.mp4").read_bytes())
    emulator.faults([{"match": "GET .*killed%2F.*alt=media", "fault": "stall:0", "times": 1_000_000}])
    yield store.uri
    emulator.faults([])


class Run:
    """One job on a cluster that goes on being killed."""

    def __init__(self, cluster: Cluster, words: list[str], assets_dir: Path) -> None:
        self.kills = Counter[str]()
        self.num_starts = 0
        self._cluster, self._words = cluster, words
        self._environment = {"MIEN_ASSETS": str(assets_dir), "RAY_ADDRESS": cluster.address}
        self._start()

    def _start(self) -> None:
        self.num_starts += 1
        self.job = start_job(*self._words, **self._environment)

    def end(self) -> None:
        """Leave no process behind."""
        self.job.kill()
        self.job.communicate()

    def wait(self, seconds: float) -> bool:
        """Whether the job ended within that time; it must have ended well."""
        with suppress(subprocess.TimeoutExpired):
            _, err = self.job.communicate(timeout=seconds)
            assert self.job.returncode == 0, err[-2000:]
            return True
        return False

    def kill(self, victim: str, chance: random.Random) -> None:
        """Kill one, if it is there, and bring back what does not come back by itself."""
        if victim == "driver":
            self.job.kill()
            self.job.communicate()
            self._start()
        elif victim == "raylet":
            node = chance.choice(list(self._cluster.worker_nodes))
            self._cluster.remove_node(node, allow_graceful=False)
            self._cluster.add_node(**NODE)
        elif not _kill_worker(WORKERS[victim], chance):
            return
        self.kills[victim] += 1


def _kill_worker(title: str, chance: random.Random) -> bool:
    found = list[psutil.Process]()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(title):
                found.append(process)
    with suppress(psutil.Error):
        if found:
            chance.choice(found).send_signal(signal.SIGKILL)
            return True
    return False


def num_committed(output: str) -> int:
    """Commit records so far."""
    return sum(1 for _ in open_store(output).list("commits/"))


def committed(output: str) -> Counter[str]:
    """How often each clip was committed."""
    store = open_store(output)
    records = [json.loads(store.read(entry.name)) for entry in store.list("commits/")]
    return Counter(sample["clip_id"] for record in records for sample in record["samples"])


def num_cut(emulator: Emulator, run: Run) -> int:
    """How often a clip was cut, or its cutting begun; the preflight of each start reads a video, too."""
    return len(emulator.fired()) - run.num_starts


@pytest.mark.parametrize("kind", ["local", "bucket"])
def test_twenty_kills_lose_nothing_double_nothing_and_repeat_only_what_was_in_flight(
    cluster: Cluster,
    emulator: Emulator,
    source: str,
    tmp_path: Path,
    assets_dir: Path,
    kind: str,
    capsys: pytest.CaptureFixture[Any],
) -> None:
    output = {"local": str(tmp_path / "out"), "bucket": f"gs://{BUCKET}/kills"}[kind]
    chance = random.Random(SEED)
    victims = chance.sample(VICTIMS * (NUM_KILLS // len(VICTIMS)), NUM_KILLS)
    run, in_flight = Run(cluster, [f"source={source}", f"output={output}", *SETTINGS], assets_dir), list[int]()
    try:
        while victims:
            num_done = num_committed(output)
            while num_committed(output) == num_done:  # a run that never gets anywhere shows nothing
                assert not run.wait(POLL_S), f"it ended after {run.kills}"
            run.wait(chance.uniform(0, 5))
            num_done, num_killed = num_committed(output), run.kills.total()
            in_flight.append(num_cut(emulator, run) - num_done)
            run.kill(victims[-1], chance)
            if run.kills.total() > num_killed:
                victims.pop()
        assert run.wait(4 * TIMEOUT_S), "it does not end"
    finally:
        run.end()
    dataset = mien.datasets.open(output)
    result = verify(dataset)
    assert (result["problems"], result["foreign"]) == ([], [])
    assert len(dataset.clip_ids) == 2 * NUM_COPIES
    assert committed(output) == dict.fromkeys(dataset.clip_ids, 1), "nothing was committed twice"
    again = num_cut(emulator, run) - 2 * NUM_COPIES
    with capsys.disabled():
        print(f"\n{kind}: seed {SEED}, kills {dict(run.kills)}, {2 * NUM_COPIES} clips, {again} cut again")
    assert 0 <= again <= in_flight[-1], "after the last kill only what was cut and not committed then was cut again"


@pytest.fixture
def copies(emulator: Emulator, faces_dir: Path) -> str:
    """All shared videos, twenty-five times."""
    store = GcsStore(f"gs://{BUCKET}/copies")
    for path in sorted(faces_dir.glob("*.mp4")):
        for number in range(25):
            store.replace(f"subject_{path.stem}/{number:02d}.mp4", path.read_bytes())
    return store.uri


def test_two_hundred_videos_on_three_nodes_of_which_one_is_killed_and_one_joins(
    cluster: Cluster, copies: str, assets_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[Any]
) -> None:
    """The card and the pictures are left in the test's folder for whoever wants to look at them."""
    cluster.add_node(**NODE)
    output = f"gs://{BUCKET}/three-nodes"
    words = [f"source={copies}", f"output={output}", "fps=5", "crop.size_px=128", "landmarks=true", "min_shard_mb=4"]
    run = Run(cluster, [*words, "sources.subject_pattern=(.*)"], assets_dir)
    try:
        while num_committed(output) < 3:
            assert not run.wait(POLL_S), "it ended before anything could be killed"
        run.kill("raylet", random.Random(SEED))
        assert run.wait(4 * TIMEOUT_S), "it does not end"
    finally:
        run.end()
    dataset = mien.datasets.open(output)
    result = verify(dataset)
    assert (result["problems"], result["foreign"]) == ([], [])
    assert (len(dataset.clip_ids), dataset.failure_file.num_rows) == (200, 0)
    assert committed(output) == dict.fromkeys(dataset.clip_ids, 1)
    store = open_store(output)
    for name in (entry.name for entry in store.list() if entry.name.startswith(("preview/", "README"))):
        (tmp_path / Path(name).name).write_bytes(store.read(name))
    with capsys.disabled():
        print(f"\nthree nodes: {result}; card and pictures in {tmp_path}")
