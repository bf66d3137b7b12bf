"""How far the driver and the sink carry: clips/s with one, two and four simulated nodes of 64 workers each.

The workers wait instead of computing, so that two cores can stand for 256: one actor per node with 64 threads. What is
measured is all that stays central: reading the plan, handing out tasks, gathering blocks, writing commit records.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from bench_resume import clips
from ray.cluster_utils import Cluster

from mien.datasets import index
from mien.datasets.parquet import ParquetConfig
from mien.pipelines.cluster import ClusterConfig, session
from mien.pipelines.handout import handed_out, pending
from mien.pipelines.sink import ShardSink, Target, crossing_row
from mien.pipelines.stages import CUT
from mien.pipelines.tally import Tally
from mien.storage.commit import read_commits
from mien.storage.local import LocalStore
from mien.storage.uri import open_store

WORKERS_PER_NODE, WAIT_S, ROUNDS = 64, 4.0, 6
"""A clip of ten seconds takes about four on one core."""
NUM_NODES = (1, 2, 4)
NODE = {"num_cpus": 2, "resources": {"waiter": 1}, "object_store_memory": 150_000_000}


class WaitStage:
    """Stands for cutting a clip."""

    def __init__(self, wait_s: float, tally: Any) -> None:
        self._wait_s, self._tally = wait_s, tally

    def __call__(self, plan: pa.Table) -> pa.Table:
        """One clip, marked with the time at which it was finished."""
        (clip,) = plan.to_pylist()
        ray.get(self._tally.begin.remote(clip["clip_id"]))
        time.sleep(self._wait_s)
        self._tally.end.remote(clip["clip_id"])
        return crossing_row(clip, failure={**clip, "finished": time.time()})


def _rate(num_nodes: int, wait_s: float) -> float:
    """Clips per second in the middle of a run, when all workers are busy."""
    num_clips = WORKERS_PER_NODE * num_nodes * ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        index.write_plan(LocalStore(Path(folder)), (clip.to_row() for clip in clips(num_clips)))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        try:
            for _ in range(num_nodes):
                cluster.add_node(**NODE)
            with session(ClusterConfig(address=cluster.address)):
                _run(Path(folder), num_nodes, wait_s)
        finally:
            cluster.shutdown()
        records = read_commits(open_store(f"{folder}/out"))
        times = sorted(failure["finished"] for record in records for failure in record["failures"])
    assert len(times) == num_clips, f"{len(times)} of {num_clips} clips"
    first, last = math.ceil(0.25 * num_clips), math.ceil(0.75 * num_clips)
    return (last - first) / (times[last] - times[first])


def _run(folder: Path, num_nodes: int, wait_s: float) -> None:
    """The graph of the job, with the waiting stage in place of the cutting one."""
    pool = ray.data.ActorPoolStrategy(
        size=num_nodes,
        max_tasks_in_flight_per_actor=2 * WORKERS_PER_NODE,
        max_concurrent_calls_per_actor=WORKERS_PER_NODE,
        enable_true_multi_threading=True,
    )
    store = LocalStore(folder)
    tally = ray.remote(Tally).options(num_cpus=0).remote([CUT])
    cut = handed_out(store.uri, pending(store, retry_failed=False), 1).map_batches(
        WaitStage,
        fn_constructor_args=(wait_s, tally),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=1,
        resources={"waiter": 1},
        compute=pool,
    )
    sink = ShardSink(Target(str(folder / "out"), "scale", ParquetConfig(), {}), min_shard_mb=0.02)
    cut.write_datasink(sink, ray_remote_args={"num_cpus": 0})


def run() -> Iterator[dict[str, Any]]:
    """Rate with the most nodes ÷ as many times the rate with one, and the rate at which nobody waits."""
    rates = {num_nodes: _rate(num_nodes, WAIT_S) for num_nodes in NUM_NODES}
    print(f"scale: clips/s by nodes of {WORKERS_PER_NODE} workers: {json.dumps(rates)}", file=sys.stderr)
    most = NUM_NODES[-1]
    yield _line("scale.linear", rates[most], most * rates[1], 0.9)
    saturated = _rate(most, 0.0)
    yield _line("scale.driver", saturated, most * WORKERS_PER_NODE / WAIT_S, 1.0)


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
