"""The tail of a run: when the whole plan is with workers, no machine is asked for any more, and idle ones go.

Ray Data asks the autoscaler for more while a cluster is busy, and goes on asking for the same when it no longer is, so
that machines which have nothing left to do would be kept until the last clip is done.
"""

import time
from collections.abc import Callable
from typing import Any

from ray.data._internal.execution.execution_callback import ExecutionCallback

_EVERY_S = 5.0
"""Ray Data itself asks at most every ten seconds."""


class TailCallback(ExecutionCallback):  # type: ignore[misc]  # ray is not typed
    """Takes the place of Ray Data's requests once nothing waits for a worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """The clock may be any that does not jump."""
        self._clock, self._asked_at = clock, -_EVERY_S

    def on_execution_step(self, executor: Any) -> None:
        """Ask for nothing, which also stays registered; machines that are at work are kept because they are."""
        if self._clock() - self._asked_at < _EVERY_S or not is_tail(executor._topology):
            return
        self._asked_at = self._clock()
        executor._cluster_autoscaler._send_resource_request([])


def is_tail(topology: Any) -> bool:
    """Whether no stage has a block that waits, and the first ones are done."""
    states = topology.items()
    return any(op.has_completed() for op, _ in states) and not any(
        state.total_enqueued_input_blocks() for _, state in states
    )
