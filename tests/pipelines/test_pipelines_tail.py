"""At the tail of a run nothing more is asked of the autoscaler, and before it Ray Data does as it likes."""

from types import SimpleNamespace
from typing import Any

import pytest
import ray.data

from mien.pipelines.tail import TailCallback


class Autoscaler:
    def __init__(self) -> None:
        self.requests = list[list[Any]]()

    def _send_resource_request(self, bundles: list[Any]) -> None:
        self.requests.append(bundles)


def executor(*stages: tuple[bool, int]) -> Any:
    """Stages that are completed or not, with so many blocks that wait."""
    return SimpleNamespace(_topology=Topology(stages), _cluster_autoscaler=Autoscaler())


class Topology:
    """Operators and their states, as Ray's mapping has them."""

    def __init__(self, stages: tuple[tuple[bool, int], ...]) -> None:
        self._stages = stages

    def items(self) -> list[tuple[Any, Any]]:
        return [(Op(done), State(num)) for done, num in self._stages]


class Op:
    def __init__(self, is_done: bool) -> None:
        self._is_done = is_done

    def has_completed(self) -> bool:
        return self._is_done


class State:
    def __init__(self, num_blocks: int) -> None:
        self._num_blocks = num_blocks

    def total_enqueued_input_blocks(self) -> int:
        return self._num_blocks


@pytest.mark.parametrize(
    ("stages", "is_tail"),
    [
        (((False, 3), (False, 0)), False),
        (((False, 0), (False, 0)), False),
        (((True, 0), (False, 1)), False),
        (((True, 0), (False, 0)), True),
        (((True, 0), (True, 0), (False, 0)), True),
    ],
)
def test_nothing_is_asked_for_once_nothing_waits(stages: tuple[tuple[bool, int], ...], is_tail: bool) -> None:
    run = executor(*stages)
    TailCallback(lambda: 0.0).on_execution_step(run)
    assert run._cluster_autoscaler.requests == ([[]] if is_tail else [])


def test_it_is_asked_again_before_ray_data_would_ask_itself() -> None:
    run, now = executor((True, 0), (False, 0)), [0.0]
    callback = TailCallback(lambda: now[0])
    for now[0] in (0.0, 1.0, 4.9, 5.0, 9.0, 10.0):
        callback.on_execution_step(run)
    assert len(run._cluster_autoscaler.requests) == 3


def test_every_run_has_it_and_ray_has_what_it_reaches_for(local_ray: None) -> None:
    from ray.data._internal.cluster_autoscaler import RateBasedClusterAutoscaler
    from ray.data._internal.execution.streaming_executor_state import OpState

    assert TailCallback in ray.data.DataContext.get_current().custom_execution_callback_classes
    assert callable(RateBasedClusterAutoscaler._send_resource_request)
    assert callable(OpState.total_enqueued_input_blocks)
    assert ray.data.range(3).map(lambda row: row).count() == 3
