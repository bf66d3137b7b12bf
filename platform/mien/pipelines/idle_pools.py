"""Actors that wait for their first clip make room for the tasks that bring it.

Actors of a fraction of a core may leave a fraction free on every machine and a whole core on none: after a machine was
lost between two looks at the cluster, for one. Ray Data shrinks a pool that is idle, but not one that had no input yet,
and so nothing would ever run.
"""

import time
from collections.abc import Callable
from typing import Any

from ray.data._internal.actor_autoscaler.autoscaling_actor_pool import ActorPoolScalingRequest
from ray.data._internal.execution.execution_callback import ExecutionCallback

PATIENCE_S = 30.0
"""Time that a pool keeps its size without an input. One that shrinks too early grows again with its work."""


class IdlePoolsCallback(ExecutionCallback):  # type: ignore[misc]  # ray is not typed
    """Shrinks pools that had no input to the least that they may have."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """The clock may be any that does not jump."""
        self._clock, self._began_at = clock, clock()

    def before_execution_starts(self, executor: Any) -> None:
        """Ray calls this when the run is set up."""
        del executor
        self._began_at = self._clock()

    def on_execution_step(self, executor: Any) -> None:
        """Ray calls this again and again."""
        if self._clock() - self._began_at >= PATIENCE_S:
            for op in executor._topology:
                if not op.metrics.num_inputs_received:
                    _shrink(op)


def _shrink(op: Any) -> None:
    for pool in op.get_autoscaling_actor_pools():
        num_over = pool.current_size() - pool.min_size()
        if num_over > 0:
            pool.scale(ActorPoolScalingRequest.downscale(delta=-num_over, force=True, reason="room for what feeds it"))
