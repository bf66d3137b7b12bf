"""What a run asks of the autoscaler: machines that it can have, and at the tail none.

Ray Data asks for twice what the cluster has, and Ray's autoscaler refuses as a whole what goes beyond the most that the
cluster may grow to: it would stay between half of that and all of it. And Ray Data goes on asking for the same when a
run has no more use for it, so that machines which have nothing left to do would be kept until the last clip is done.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply
from ray.data._internal.execution.execution_callback import ExecutionCallback

from mien.pipelines.handout import is_handing_out

Bundle = Mapping[str, float]
"""Amounts of resources, by name."""
Kind = tuple[tuple[str, float], ...]
"""The same, hashable."""

_PATIENCE_S = 5


class DemandCallback(ExecutionCallback):  # type: ignore[misc]  # ray is not typed
    """Puts `Demand` before what Ray Data asks through."""

    def before_execution_starts(self, executor: Any) -> None:
        """Ray calls this when the run is set up, and has asked for nothing yet."""
        autoscaler = executor._cluster_autoscaler
        autoscaler._autoscaling_coordinator = Demand(
            autoscaler._autoscaling_coordinator, lambda: is_tail(executor._topology), is_refused
        )


class Demand:
    """Changes what is asked, every ten seconds or so, and hands it on.

    Once a request was refused, one kind of bundle at a time may become more than was granted: by half as many as were
    refused the last time, or twice as many as were granted. So each comes to its most, also where others have, and
    grows again when the cluster can.
    """

    def __init__(self, coordinator: Any, is_tail: Callable[[], bool], is_refused: Callable[[], bool]) -> None:
        """Take Ray's coordinator, whether nothing waits any more, and whether the last request was refused."""
        self._coordinator, self._is_tail, self._is_refused = coordinator, is_tail, is_refused
        self._asked, self._granted, self._room = Counter[Kind](), Counter[Kind](), Counter[Kind]()
        self._grows: Kind | None = None
        """The kind that may become more, when not all may."""

    def __getattr__(self, name: str) -> Any:
        """All the rest is Ray's."""
        return getattr(self._coordinator, name)

    def request_resources(self, resources: list[Bundle], **options: Any) -> None:
        """Ask for the machines that hold these bundles, or for fewer."""
        request = [] if self._is_tail() else self._within_reach(Counter(map(_kind, resources)))
        self._coordinator.request_resources(resources=request, **options)

    def _within_reach(self, wanted: Counter[Kind]) -> list[Bundle]:
        self._learn()
        self._asked = self._limited(wanted)
        return [dict(kind) for kind in self._asked.elements()]

    def _learn(self) -> None:
        if self._is_refused():
            for kind in [self._grows] if self._grows else self._asked:
                self._room[kind] = max(1, (self._asked[kind] - self._granted[kind]) // 2)
        else:
            self._granted = self._asked
            if self._grows:
                self._room[self._grows] *= 2

    def _limited(self, wanted: Counter[Kind]) -> Counter[Kind]:
        if not self._room or not wanted:
            return wanted
        kinds = list(wanted)
        at = kinds.index(self._grows) + 1 if self._grows in kinds else 0
        self._grows = kind = kinds[at % len(kinds)]
        most = self._granted.copy()
        most[kind] += self._room[kind] or 1
        return wanted & most


def _kind(bundle: Bundle) -> Kind:
    return tuple(sorted(bundle.items()))


def is_tail(topology: Any) -> bool:
    """Whether the whole plan is handed out and no stage has a block that waits."""
    return not any(is_handing_out(op) or state.total_enqueued_input_blocks() for op, state in topology.items())


def is_refused() -> bool:
    """Whether the autoscaler finds that the cluster cannot grow to what is asked, as `ray status` shows it.

    A head that does not answer refuses nothing: growth is no reason to end a run.
    """
    reply = GetClusterStatusReply()
    with contextlib.suppress(ray.exceptions.RayError):
        reply.ParseFromString(ray._private.worker.global_worker.gcs_client.get_cluster_status(timeout_s=_PATIENCE_S))
    return bool(reply.autoscaling_state.infeasible_cluster_resource_constraints)
