"""Actors that had no input leave room for the tasks that bring it."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.data
from ray.cluster_utils import Cluster

from mien.pipelines.cluster import ClusterConfig, session
from mien.pipelines.idle_pools import PATIENCE_S, IdlePoolsCallback

NODE = {"num_cpus": 2, "object_store_memory": 100_000_000}


class Pool:
    def __init__(self, size: int, least: int) -> None:
        self.size, self.least = size, least

    def current_size(self) -> int:
        return self.size

    def min_size(self) -> int:
        return self.least

    def scale(self, request: Any) -> None:
        self.size += request.delta


def op(num_inputs: int, *pools: Pool) -> Any:
    return SimpleNamespace(
        metrics=SimpleNamespace(num_inputs_received=num_inputs), get_autoscaling_actor_pools=lambda: list(pools)
    )


def test_a_pool_without_input_shrinks_to_its_least_after_a_while_and_no_other_does() -> None:
    idle, at_least, fed = Pool(6, 1), Pool(2, 2), Pool(6, 1)
    now = [100.0]
    callback = IdlePoolsCallback(lambda: now[0])
    run = SimpleNamespace(_topology=[op(0, idle), op(0, at_least), op(1, fed)])
    now[0] = 200.0
    callback.before_execution_starts(run)
    for now[0] in (200.0, 200.0 + PATIENCE_S - 1):
        callback.on_execution_step(run)
    assert [pool.size for pool in (idle, at_least, fed)] == [6, 2, 6]
    now[0] = 200.0 + PATIENCE_S
    callback.on_execution_step(run)
    callback.on_execution_step(run)
    assert [pool.size for pool in (idle, at_least, fed)] == [1, 2, 6]


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two nodes of two cores, ended by their own handles."""
    monkeypatch.setattr("mien.pipelines.idle_pools.PATIENCE_S", 2.0)
    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            made.add_node(**NODE)
        yield made.address
    finally:
        made.shutdown()


@pytest.mark.cluster
@pytest.mark.slow
def test_actors_that_were_counted_for_a_machine_more_do_not_hang_the_run(address: str) -> None:
    """Three actors of half a core on each node leave half a core there: the task of a whole one fits nowhere."""

    class Pass:  # in here, so that workers get it and not its module's name
        def __call__(self, rows: Any) -> Any:
            return rows

    with session(ClusterConfig(address=address)):
        rows = ray.data.range(8, override_num_blocks=8).map_batches(lambda rows: rows, num_cpus=1)
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=6, initial_size=6)
        assert rows.map_batches(Pass, num_cpus=0.5, compute=pool).materialize().count() == 8
