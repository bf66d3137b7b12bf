"""How far the driver and the sink carry: clips/s with one, two and four simulated nodes of 64 workers each.

The workers wait instead of computing, so that two cores can stand for 256: one actor per node with 64 threads. What is
measured is all that stays central: reading the plan, handing out tasks, gathering blocks, writing commit records.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from bench_resume import clips
from ray.cluster_utils import Cluster

from mien.datasets import index
from mien.datasets.parquet import ParquetConfig
from mien.pipelines.cluster import ClusterConfig, session
from mien.pipelines.handout import TaskSize, clips_of, handed_out, pending
from mien.pipelines.sink import ShardSink, Target, crossing_row
from mien.pipelines.stages import CUT
from mien.pipelines.tally import Tally
from mien.storage.commit import read_commits
from mien.storage.local import LocalStore
from mien.storage.uri import open_store

WORKERS_PER_NODE, WAIT_S, ROUNDS = 64, 4.0, 16
"""A clip of ten seconds takes about four on one core."""
MEASURED = 0.5, 0.9
"""Share of the clips between which the rate is taken. In the first half the two cores start processes, and at the end
there is not work for all."""
NUM_NODES = (1, 2, 4)
NODE = {"num_cpus": 2, "resources": {"waiter": 1}, "object_store_memory": 150_000_000}
JOINS_AFTER_S, USED_WITHIN_S, NUM_SHORT, SHORT_S = 20.0, 15.0, 240, 1.0
"""A second node joins in the middle of a run whose clips take a second each."""


class WaitStage:
    """Stands for cutting a clip."""

    def __init__(self, wait_s: float, tally: Any) -> None:
        self._wait_s, self._tally = wait_s, tally

    def __call__(self, tasks: pa.Table) -> pa.Table:
        """One clip, marked with the time at which it was finished."""
        (clip,) = clips_of(tasks)
        ray.get(self._tally.begin.remote(clip["clip_id"]))
        time.sleep(self._wait_s)
        self._tally.end.remote(clip["clip_id"])
        return crossing_row(clip, failure={**clip, "finished": time.time(), "node": _node()})


def _node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _rate(num_nodes: int, wait_s: float) -> float:
    """Clips per second when all workers are busy and all processes there."""
    num_clips = WORKERS_PER_NODE * num_nodes * ROUNDS
    pool = ray.data.ActorPoolStrategy(
        size=num_nodes,
        max_tasks_in_flight_per_actor=2 * WORKERS_PER_NODE,
        max_concurrent_calls_per_actor=WORKERS_PER_NODE,
        enable_true_multi_threading=True,
    )
    how = {"compute": pool, "resources": {"waiter": 1}}
    with _cluster(num_nodes), tempfile.TemporaryDirectory() as folder:
        done = _run(
            Path(folder), num_clips, lambda tally: how | {"fn": WaitStage, "fn_constructor_args": (wait_s, tally)}
        )
    times = sorted(clip["finished"] for clip in done)
    first, last = (math.ceil(share * num_clips) for share in MEASURED)
    return (last - first) / (times[last] - times[first])


def _used_after() -> float:
    """Seconds from the joining of a node, while a job runs, to its first clip; the stage is of tasks, as the job's."""
    stage = {"resources": {"waiter": 0.5}}
    with _cluster(1) as cluster, tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        job = pool.submit(_run, Path(folder), NUM_SHORT, lambda tally: stage | {"fn": WaitStage(SHORT_S, tally)})
        time.sleep(JOINS_AFTER_S)
        node_id, joined_at = cluster.add_node(**NODE).node_id, time.time()  # Ray wants the main thread for it
        done = job.result()
    return min(clip["finished"] for clip in done if clip["node"] == node_id) - SHORT_S - joined_at


@contextmanager
def _cluster(num_nodes: int) -> Iterator[Cluster]:
    """A head that only leads, and nodes; this process is connected to it."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        for _ in range(num_nodes):
            cluster.add_node(**NODE)
        with session(ClusterConfig(address=cluster.address)):
            yield cluster
    finally:
        cluster.shutdown()


def _run(folder: Path, num_clips: int, stage: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
    """The graph of the job, with the waiting stage in place of the cutting one; what it says of each clip."""
    store = LocalStore(folder)
    index.write_plan(store, (clip.to_row() for clip in clips(num_clips)))
    tally = ray.remote(Tally).options(num_cpus=0).remote([CUT])
    clips_left = handed_out(store.uri, pending(store, retry_failed=False), TaskSize(1))
    cut = clips_left.map_batches(**stage(tally), num_cpus=1, batch_size=1, batch_format="pyarrow")
    sink = ShardSink(Target(str(folder / "out"), "scale", ParquetConfig(), {}), min_shard_mb=0.02)
    cut.write_datasink(sink, ray_remote_args={"num_cpus": 0})
    done = [clip for record in read_commits(open_store(f"{folder}/out")) for clip in record["failures"]]
    assert len(done) == num_clips, f"{len(done)} of {num_clips} clips"
    return done


def run() -> Iterator[dict[str, Any]]:
    """Rate with the most nodes ÷ as many times that with one; the rate at which nobody waits; the use of a new node."""
    rates = {num_nodes: _rate(num_nodes, WAIT_S) for num_nodes in NUM_NODES}
    print(f"scale: clips/s by nodes of {WORKERS_PER_NODE} workers: {json.dumps(rates)}", file=sys.stderr)
    most = NUM_NODES[-1]
    yield _line("scale.linear", rates[most], most * rates[1], 0.9)
    saturated = _rate(most, 0.0)
    yield _line("scale.driver", saturated, most * WORKERS_PER_NODE / WAIT_S, 1.0)
    used_s = _used_after()
    line = {"bench": "scale.joined", "ratio": used_s / USED_WITHIN_S, "bound": 1.0, "better": "lower"}
    yield line | {"ours": used_s, "other": USED_WITHIN_S, "unit": "s"}


def _line(bench: str, ours: float, other: float, bound: float) -> dict[str, Any]:
    return {
        "bench": bench,
        "ratio": ours / other,
        "bound": bound,
        "better": "higher",
        "ours": ours,
        "other": other,
        "unit": "clips/s",
    }
