import logging
import math
from typing import Any

import pytest
import ray

from mien.errors import ConfigError, PreflightError
from mien.pipelines.cluster import ClusterConfig
from mien.pipelines.pools import (
    PoolConfig,
    actor_pool,
    clips_per_task,
    num_that_fit,
    num_to_start,
    require_room,
    require_room_beside,
)
from mien.pipelines.serialize import SerializeConfig

LOCAL = ClusterConfig(address="local")


@pytest.mark.parametrize("needs", [{"num_cpus": 1}, {"num_cpus": 2}, {"num_cpus": 0.5, "memory_gb": 0.01}])
def test_a_worker_that_fits_is_let_through_without_a_word(
    local_ray: None, needs: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    require_room(LOCAL, "cut", PoolConfig(**needs))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ({"num_cpus": 3}, "3 CPU, 0 GPU and 0 GB of memory"),
        ({"num_gpus": 64}, "1 CPU, 64 GPU and 0 GB of memory"),
        ({"memory_gb": 4e5}, "1 CPU, 0 GPU and 400000 GB of memory"),
    ],
)
def test_a_worker_that_fits_nowhere_is_told_instead_of_waited_for(
    local_ray: None, needs: dict[str, float], said: str
) -> None:
    with pytest.raises(PreflightError, match="ask for less") as raised:
        require_room(LOCAL, "cut", PoolConfig(**needs))
    assert str(raised.value).startswith(f"workers.cut: each worker needs {said}, and no machine")


def test_a_cluster_may_grow_so_that_waiting_is_said_and_allowed(
    local_ray: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("mien"), "propagate", True)
    require_room(ClusterConfig(address="10.0.0.1:6379"), "features", PoolConfig(num_gpus=64))
    assert "waiting" in caplog.text
    assert "64 GPU" in caplog.text


@pytest.mark.parametrize(
    "values", [{"num_cpus": 1.5}, {"num_gpus": 2.5}, {"num_cpus": float("inf")}, {"memory_gb": float("inf")}]
)
def test_what_ray_cannot_count_is_refused_when_the_config_is_read(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"workers\.cut\.{next(iter(values))}: "):
        SerializeConfig.parse({"workers": {"cut": values}}, "x.yaml")


@pytest.mark.parametrize(
    ("pool", "num_workers"),
    [({"num_cpus": 0.5}, 2), ({"num_cpus": 1}, 1), ({"num_cpus": 0.1, "max_workers": 3}, 3), ({"min_workers": 7}, 7)],
)
def test_a_pool_starts_with_what_half_of_two_cpus_hold(
    local_ray: None, pool: dict[str, float], num_workers: int
) -> None:
    assert num_to_start(PoolConfig(**pool)) == num_workers


def sizes(cluster: ClusterConfig, **values: Any) -> tuple[int, int | float, int]:
    strategy = actor_pool(cluster, PoolConfig(num_cpus=0.5, **values))
    return strategy.min_size, strategy.max_size, strategy.initial_size


def test_a_local_ray_does_not_grow_a_pool_and_a_cluster_does_and_gives_back(local_ray: None) -> None:
    assert sizes(LOCAL) == (2, 2, 2)
    assert sizes(LOCAL, max_workers=1) == (1, 1, 1)
    elsewhere = ClusterConfig(address="10.0.0.1:6379")
    assert sizes(elsewhere) == (1, math.inf, 2)
    assert sizes(elsewhere, min_workers=3, max_workers=9) == (3, 9, 3)
    assert sizes(elsewhere, max_workers=1) == (1, 1, 1)


@pytest.mark.parametrize(
    ("num_clips", "mean_s", "expected"),
    [(1000, 1.0, 10), (1000, 30.0, 1), (1000, math.inf, 1), (40, 1.0, 2), (8, 1.0, 1), (1000, 0.0, 62)],
)
def test_short_clips_share_a_task_while_there_are_tasks_for_every_cpu(
    local_ray: None, num_clips: int, mean_s: float, expected: int
) -> None:
    assert clips_per_task(num_clips, mean_s) == expected


def test_labels_choose_the_machines(local_ray: None) -> None:
    (node,) = ray.nodes()
    here = (f"ray.io/node-id={node['NodeID']}",)
    require_room(LOCAL, "cut", PoolConfig(labels=here))
    assert num_to_start(PoolConfig(num_cpus=0.5, labels=here)) == 2
    with pytest.raises(PreflightError, match="on a machine labelled market=spot"):
        require_room(LOCAL, "cut", PoolConfig(labels=("market=spot",)))
    node_id = ray.remote(lambda: ray.get_runtime_context().get_node_id())
    assert ray.get(node_id.options(**PoolConfig(labels=here).demands).remote()) == node["NodeID"]


@pytest.mark.parametrize(
    ("values", "num"),
    [
        ({}, 2),
        ({"num_cpus": 0.5}, 4),
        ({"num_cpus": 2}, 1),
        ({"num_cpus": 0.5, "max_workers": 3}, 3),
        ({"num_cpus": 2, "min_workers": 5}, 5),
        ({"num_cpus": 1, "num_gpus": 1}, 1),  # one at least: it may come with a machine that joins
        ({"num_cpus": 1, "memory_gb": 1e6}, 1),
    ],
)
def test_a_pool_that_runs_alone_may_hold_the_whole_cluster(local_ray: None, values: dict[str, float], num: int) -> None:
    assert num_that_fit(PoolConfig.parse(values, "test")) == num


def test_actors_that_leave_no_core_for_the_task_that_feeds_them_are_refused(local_ray: None) -> None:
    require_room_beside(LOCAL, PoolConfig(num_cpus=1), PoolConfig(num_cpus=1))
    require_room_beside(LOCAL, PoolConfig(num_cpus=0.5), PoolConfig(num_cpus=0.5))
    with pytest.raises(PreflightError, match=r"2 CPU for what computes features and 1 .*num_cpus=3 or ask for less"):
        require_room_beside(LOCAL, PoolConfig(num_cpus=2), PoolConfig(num_cpus=1))
    with pytest.raises(PreflightError, match=r"set cluster\.num_cpus=3"):  # two halves and a task
        require_room_beside(LOCAL, PoolConfig(num_cpus=0.75, min_workers=2), PoolConfig(num_cpus=0.5))
    require_room_beside(ClusterConfig(address="10.0.0.1:6379"), PoolConfig(num_cpus=2), PoolConfig(num_cpus=1))
