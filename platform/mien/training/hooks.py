"""What Ray Train's controller does not do by itself: save before a resize, believe that a machine is gone, be quick."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.exceptions import RayTrainError
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.context import get_train_context
from ray.train.v2._internal.execution.preemption import PreemptionWatcher

from mien.log import logger
from mien.training.notice import HOLDING

_WAIT_S = 60.0
_ANSWER_S = 2.0
_MAX_ASKED = 32
_NODE_ID = "ray.io/node-id"
"""Label that Ray gives to every machine."""


class Trainer(TorchTrainer):  # type: ignore[misc]
    """Ray Train without its manager of datasets: a process that each start waits for, and we feed none through it."""

    def _create_default_callbacks(self) -> list[Any]:
        return [hook for hook in super()._create_default_callbacks() if not isinstance(hook, DatasetsCallback)]


class Watch(WorkerGroupCallback):  # type: ignore[misc]
    """Tells workers that their machine is drained. Ray's own has a process for it, which slows down each start."""

    def __init__(self, every_s: float) -> None:
        """Look this often."""
        self._every_s = every_s
        self._watcher: PreemptionWatcher | None = None

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Watch the machines of these workers, from a thread of the controller."""
        self._stop()
        ranks, actors = dict[str, list[int]](), dict[int, Any]()
        for worker in worker_group.get_workers():
            actors[worker.distributed_context.world_rank] = worker.actor
            ranks.setdefault(worker.metadata.node_id, []).append(worker.distributed_context.world_rank)
        self._watcher = PreemptionWatcher(ranks, self._every_s, actors)

    def before_worker_group_shutdown(self, worker_group: Any) -> None:  # noqa: ARG002  the name is Ray's
        """They end."""
        self._stop()

    def after_worker_group_abort(self, worker_group_context: Any) -> None:  # noqa: ARG002  the name is Ray's
        """They ended."""
        self._stop()

    def _stop(self) -> None:
        if self._watcher is not None:
            self._watcher._stop_event.set()
        self._watcher = None


class RayNotices:
    """Notices of a worker under Ray Train, read without a barrier: the training loop agrees on them by itself."""

    def wants_hold(self) -> bool:
        """Whether the controller is about to make the run larger or smaller."""
        return HOLDING.is_asked()

    def deadline_s(self) -> float | None:
        """Unix time at which a machine of the run is drained; in two minutes if it does not say when."""
        context = get_train_context().preemption_context
        info = context.preemption_info if context else None
        if info is None:
            return None
        return info.deadline_ms / 1000 if info.deadline_ms else time.time() + 2 * _WAIT_S


class Handover(ControllerCallback, WorkerGroupCallback):  # type: ignore[misc]
    """Lives in the controller. Before workers that train are replaced by more or fewer, they save and stop."""

    def __init__(self) -> None:
        """No workers yet."""
        self._group: Any = None
        self._silent = list[str]()
        """Machines that Ray counts on and that do not answer."""

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Remember who trains."""
        self._group = worker_group

    def before_worker_group_shutdown(self, worker_group: Any) -> None:  # noqa: ARG002  the name is Ray's
        """Forget them."""
        self._group = None

    def before_controller_execute_resize_decision(self, resize_decision: Any) -> None:
        """Let a run that is well save its last step; never wait for workers on machines that are gone.

        Ray counts on machines for up to 20 s after they died, and would wait a minute for workers there.
        """
        if self._is_well():
            self._hold()
        answering, self._silent = _machines()
        possible = _num_possible(resize_decision.resources_per_worker, answering)
        if 0 < possible < resize_decision.num_workers:
            logger.info("workers  %d instead of %d: machines are gone", possible, resize_decision.num_workers)
            resize_decision.num_workers = possible

    def on_controller_start_worker_group(
        self,
        *,
        scaling_config: Any,  # noqa: ARG002  the names are Ray's
        num_workers: int,  # noqa: ARG002
    ) -> dict[str, str] | None:
        """Label selector of the workers to start: on no machine that does not answer."""
        return {_NODE_ID: f"!in({','.join(self._silent)})"} if self._silent else None

    def before_controller_execute_failure_decision(self, failure_decision: Any) -> None:  # noqa: ARG002  Ray's name
        """End a run that would fail the same way again: all but dead workers, machines and connections."""
        status = self._group.get_latest_poll_status() if self._group is not None else None
        for error in status.errors.values() if status is not None else ():
            if not _may_pass(error):
                raise error

    def _is_well(self) -> bool:
        if self._group is None:
            return False
        status = self._group.get_latest_poll_status()
        return status is not None and not status.errors

    def _hold(self) -> None:
        workers = self._group.get_workers()
        try:
            ray.get([worker.execute_async(_ask) for worker in workers], timeout=_WAIT_S)
            ray.get([worker.execute_async(_is_held, _WAIT_S) for worker in workers], timeout=2 * _WAIT_S)
        except ray.exceptions.RayError as error:
            logger.warning("workers could not be asked to save before the resize: %s", error)


def _may_pass(error: BaseException) -> bool:
    """Whether an error tells of a worker, a machine, a connection or a device; torch gives these no class."""
    if isinstance(error, RayTrainError | ray.exceptions.RayError):
        return True
    said = f"{type(error).__module__} {error}".lower()
    words = ("gloo", "nccl", "connection", "timed out", "cuda", "torch.distributed")
    return isinstance(error, RuntimeError | OSError) and any(word in said for word in words)


def _ask() -> None:
    HOLDING.ask()


def _is_held(timeout_s: float) -> bool:
    return HOLDING.is_held(timeout_s)


def _machines() -> tuple[list[dict[str, Any]], list[str]]:
    """Machines that are alive and stay, and the ids of those that Ray takes for alive and that do not answer."""
    going = ray._private.state.state.get_draining_nodes()
    alive = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in going]
    with ThreadPoolExecutor(min(len(alive), _MAX_ASKED) or 1) as pool:
        answers = [*pool.map(_answers, alive)]
    answering = [node for node, is_there in zip(alive, answers, strict=True) if is_there]
    return answering, [node["NodeID"] for node, is_there in zip(alive, answers, strict=True) if not is_there]


def _answers(node: dict[str, Any]) -> bool:
    """Whether a machine's raylet takes a connection: Ray itself asks five times, three seconds apart."""
    try:
        with socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), _ANSWER_S):
            return True
    except OSError:
        return False


def _num_possible(needs: dict[str, float], machines: list[dict[str, Any]]) -> int:
    """Workers that some machines can hold at most."""
    wanted = {name: need for name, need in needs.items() if need > 0}
    return sum(
        min((int(node["Resources"].get(name, 0) // need) for name, need in wanted.items()), default=0)
        for node in machines
    )
