"""What is asked of the autoscaler comes within its reach, and at the tail of a run it is nothing."""

import math
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import ray.data
from ray.data._internal.cluster_autoscaler import RateBasedClusterAutoscaler
from ray.data._internal.execution.streaming_executor_state import OpState

from mien.pipelines.demand import Demand, DemandCallback, is_refused, is_tail

CPU, HALF, GPU = {"CPU": 1.0}, {"CPU": 0.5}, {"CPU": 1.0, "GPU": 1.0}


class Cluster:
    """Ray's coordinator with an autoscaler that gives all that is asked, or nothing: as Ray's does."""

    def __init__(self, **most: float) -> None:
        self.most, self.have, self.asked = most, dict[str, float](), list[dict[str, float]]()
        self.is_refused = False

    def get_reserved_resources(self) -> dict[str, dict[str, float]]:
        return {"node": self.have}

    def request_resources(self, resources: list[dict[str, float]], expire_after_s: float) -> None:
        assert expire_after_s == 180
        self.asked = resources
        wanted = {name: sum(bundle.get(name, 0) for bundle in resources) for name in self.most}
        self.is_refused = any(wanted[name] > most for name, most in self.most.items())
        if not self.is_refused:
            self.have = {name: max(num, self.have.get(name, 0)) for name, num in wanted.items()}

    def cancel_request(self) -> str:
        return "cancelled"


def demand_of(cluster: Cluster, is_tail: bool = False) -> Demand:
    return Demand(cluster, lambda: is_tail, lambda: cluster.is_refused)


def doubled(cluster: Cluster, kinds: Iterable[dict[str, float]]) -> list[dict[str, float]]:
    """What Ray Data asks: of every kind as many as twice the CPUs there hold."""
    kinds = list(kinds)
    num_cpus = max(1, 2 * cluster.have.get("CPU", 0))
    return [kind for kind in kinds for _ in range(math.ceil(num_cpus / sum(kind["CPU"] for kind in kinds)))]


@pytest.mark.parametrize("kinds", [[CPU], [CPU, HALF]])
@pytest.mark.parametrize("most", [1, 3, 7, 64, 100, 127, 1000])
def test_a_cluster_grows_to_its_most_though_more_is_refused_as_a_whole(
    most: int, kinds: list[dict[str, float]]
) -> None:
    cluster = Cluster(CPU=most)
    demand = demand_of(cluster)
    for _ in range(60):
        demand.request_resources(doubled(cluster, kinds), expire_after_s=180)
    assert most - 1 < cluster.have["CPU"] <= most


def test_it_grows_again_after_machines_were_taken_away() -> None:
    cluster = Cluster(CPU=100)
    demand = demand_of(cluster)
    for taken in (0, 90):
        cluster.have["CPU"] = cluster.have.get("CPU", 0) - taken
        for _ in range(30):
            demand.request_resources(doubled(cluster, [CPU]), expire_after_s=180)
        assert cluster.have["CPU"] == 100


def test_what_is_not_scarce_is_asked_for_beside_what_is() -> None:
    cluster = Cluster(CPU=64, GPU=4)
    demand = demand_of(cluster)
    for _ in range(60):
        demand.request_resources(doubled(cluster, [CPU, GPU]), expire_after_s=180)
    assert cluster.have["GPU"] == 4
    assert cluster.have["CPU"] > 32


def test_all_that_ray_data_asks_is_asked_while_nothing_is_refused() -> None:
    cluster = Cluster(CPU=1000)
    demand_of(cluster).request_resources([GPU, CPU, CPU, HALF], expire_after_s=180)
    assert sorted(cluster.asked, key=str) == sorted([GPU, CPU, CPU, HALF], key=str)


def test_nothing_is_asked_at_the_tail_and_the_rest_is_rays() -> None:
    cluster = Cluster(CPU=10)
    demand = demand_of(cluster, is_tail=True)
    demand.request_resources([CPU] * 4, expire_after_s=180)
    assert cluster.asked == []
    assert demand.cancel_request() == "cancelled"


def test_what_was_granted_is_asked_for_again_after_a_moment_in_which_nothing_waited() -> None:
    cluster, moments = Cluster(CPU=100), iter([*[False] * 30, True, False])
    demand = Demand(cluster, lambda: next(moments), lambda: cluster.is_refused)
    for _ in range(32):
        demand.request_resources(doubled(cluster, [CPU]), expire_after_s=180)
    assert len(cluster.asked) >= 100


class Topology:
    """Operators and their states, as Ray's mapping has them: (name, is done, blocks that wait)."""

    def __init__(self, *stages: tuple[str, bool, int]) -> None:
        self._stages = stages

    def items(self) -> list[tuple[Any, Any]]:
        return [
            (
                SimpleNamespace(name=name, has_completed=lambda done=done: done),
                SimpleNamespace(total_enqueued_input_blocks=lambda num=num: num),
            )
            for name, done, num in self._stages
        ]


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((("Input", True, 0), ("MapBatches(HandOutStage)", False, 3), ("cut", False, 0)), False),
        ((("Input", True, 0), ("MapBatches(HandOutStage)", False, 0), ("cut", False, 0)), False),
        ((("Input", True, 0), ("MapBatches(HandOutStage)", True, 0), ("cut", False, 1)), False),
        ((("Input", True, 0), ("MapBatches(HandOutStage)", True, 0), ("cut", False, 0)), True),
        ((("Input", True, 0), ("other", False, 0)), True),
    ],
)
def test_the_tail_is_when_all_is_handed_out_and_nothing_waits(
    stages: tuple[tuple[str, bool, int], ...], expected: bool
) -> None:
    assert is_tail(Topology(*stages)) == expected


def test_a_head_that_does_not_answer_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(timeout_s: float) -> bytes:
        raise ray.exceptions.GetTimeoutError(f"{timeout_s}")

    worker = SimpleNamespace(gcs_client=SimpleNamespace(get_cluster_status=silent))
    monkeypatch.setattr("ray._private.worker.global_worker", worker)
    assert not is_refused()


def test_every_run_has_it_and_ray_has_what_it_reaches_for(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[Any]()
    monkeypatch.setattr(RateBasedClusterAutoscaler, "on_executor_shutdown", lambda autoscaler: seen.append(autoscaler))
    assert DemandCallback in ray.data.DataContext.get_current().custom_execution_callback_classes
    assert ray.data.range(3).map(lambda row: row).materialize().count() == 3
    assert all(isinstance(autoscaler._autoscaling_coordinator, Demand) for autoscaler in seen)
    assert seen
    assert not is_refused()
    assert callable(OpState.total_enqueued_input_blocks)
