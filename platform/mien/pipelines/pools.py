"""The workers of one stage: what each of them needs, whether there is room for one, how many, and how much at once."""

import math
import sys
from typing import Annotated, Any

import ray
import ray.data
from pydantic import Field, field_validator

from mien.config import Config
from mien.errors import PreflightError
from mien.log import logger
from mien.pipelines.cluster import ClusterConfig, is_local

TASK_S = 10.0
"""Seconds of video that are worth a task: Ray takes 0.2 s from the end of one to the start of the next."""

_TASKS_PER_CPU = 8
"""Tasks at least for each CPU, so that none waits long for the last one."""


class PoolConfig(Config):
    """Resources of one stage."""

    num_cpus: float = Field(1.0, ge=0, allow_inf_nan=False)
    """CPUs that Ray counts for each worker."""

    num_gpus: float = Field(0.0, ge=0, allow_inf_nan=False)
    """GPUs of each worker; a fraction shares one."""

    memory_gb: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Memory that Ray counts for each worker; without it Ray does not know what a worker needs."""

    labels: tuple[Annotated[str, Field(pattern=r"^[^=]+=[^=]+$")], ...] = ()
    """Labels that a machine must have, such as `market=spot` or `ray.io/accelerator-type=A100`; any by default."""

    min_workers: int | None = Field(None, ge=1)
    """Workers that are there to the end (features), also at the tail; without it one, so that machines which have no
    more to do can be given back. A run starts with as many as half of the cluster holds."""

    max_workers: int | None = Field(None, ge=1)
    """Workers at most; without it as many as the cluster, while it grows, has room for (features on a local Ray: as
    many as it starts with, since more would only take turns on the same cores)."""

    @field_validator("num_cpus", "num_gpus")
    @classmethod
    def _share_or_whole(cls, count: float) -> float:
        if count > 1 and count != int(count):
            raise ValueError("above 1 must be a whole number")
        return count

    @property
    def demands(self) -> dict[str, Any]:
        """What Ray is told that each worker needs."""
        memory = int(self.memory_gb * 1e9) if self.memory_gb else None
        selector = dict(label.split("=") for label in self.labels)
        return {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus, "memory": memory, "label_selector": selector}


class CutPoolConfig(PoolConfig):
    """Resources of the stage that reads strangers' files."""

    clip_memory_gb: float = Field(4.0, gt=0, allow_inf_nan=False)
    """Memory that one clip may take, its crops included, on top of what its worker holds. A clip that needs more
    fails, and the others go on. Held on Linux."""

    @property
    def clip_memory_bytes(self) -> int:
        """The cap of a clip."""
        return int(self.clip_memory_gb * 1e9)


def require_room(cluster: ClusterConfig, stage: str, pool: PoolConfig) -> None:
    """Make sure that a worker of a stage fits on a machine: one that does not would be waited for without end.

    Raises:
        PreflightError: It fits nowhere, and the cluster does not grow because it is this machine.
    """
    needs = {"CPU": pool.num_cpus, "GPU": pool.num_gpus, "memory": (pool.memory_gb or 0) * 1e9}
    if any(all(machine.get(name, 0) >= need for name, need in needs.items()) for machine in _machines(pool)):
        return
    wanted = f"{pool.num_cpus:g} CPU, {pool.num_gpus:g} GPU and {pool.memory_gb or 0:g} GB of memory"
    wanted += f" on a machine labelled {', '.join(pool.labels)}" if pool.labels else ""
    message = f"workers.{stage}: each worker needs {wanted}, and no machine here has that"
    if is_local(cluster):
        raise PreflightError(f"{message}; ask for less, or name a larger cluster in cluster.address")
    logger.warning("waiting  %s; the run begins when one joins the cluster", message)


def require_room_beside(cluster: ClusterConfig, actors: PoolConfig, tasks: PoolConfig) -> None:
    """Make sure that a task fits beside the fewest actors of the next stage, which hold their CPUs to the end.

    Raises:
        PreflightError: It would wait for them, and they for it, on a Ray of this machine alone.
    """
    have = ray.cluster_resources().get("CPU", 0)
    held, task = (actors.min_workers or 1) * actors.num_cpus, max(1.0, tasks.num_cpus)  # Ray's own tasks take one
    if is_local(cluster) and held + task > have:
        raise PreflightError(
            f"workers: {held:g} CPU for what computes features and {task:g} for the task that feeds it are more than "
            f"the {have:g} of this Ray; set cluster.num_cpus={math.ceil(held + task)} or ask for less"
        )


def _machines(pool: PoolConfig) -> list[dict[str, float]]:
    """Resources of each machine that has the pool's labels."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    wanted = set(pool.labels)
    return [dict(node["Resources"]) for node in alive if wanted <= {f"{k}={v}" for k, v in node["Labels"].items()}]


def num_to_start(pool: PoolConfig) -> int:
    """As many as fit now, since a pool that starts with one takes minutes to grow; they may hold half of the CPUs."""
    num_cpus, num_gpus = (sum(machine.get(name, 0) for machine in _machines(pool)) for name in ("CPU", "GPU"))
    room = {"CPU": (num_cpus / 2, pool.num_cpus), "GPU": (num_gpus, pool.num_gpus)}
    fitting = [int(there / need) for there, need in room.values() if need]
    return pool.min_workers or max(1, min([*fitting, pool.max_workers or sys.maxsize]))


def num_that_fit(pool: PoolConfig) -> int:
    """As many as the machines there hold when nothing else runs, within what the pool allows; at least one."""
    needs = {"CPU": pool.num_cpus, "GPU": pool.num_gpus, "memory": (pool.memory_gb or 0) * 1e9}
    rooms = [
        min([int(machine.get(name, 0) / need) for name, need in needs.items() if need], default=1)
        for machine in _machines(pool)
    ]
    return max(1, min(max(sum(rooms), pool.min_workers or 1), pool.max_workers or sys.maxsize))


def actor_pool(cluster: ClusterConfig, pool: PoolConfig) -> ray.data.ActorPoolStrategy:
    """Actors of a stage: a local Ray has no more cores than it started with, a cluster grows and is given back."""
    num = num_to_start(pool)
    if is_local(cluster):
        return ray.data.ActorPoolStrategy(min_size=num, max_size=pool.max_workers or num)
    least = pool.min_workers or 1
    return ray.data.ActorPoolStrategy(min_size=least, max_size=pool.max_workers, initial_size=max(least, num))


def clips_per_task(num_clips: int, mean_s: float) -> int:
    """How many clips go through a stage together: short ones in groups, long ones (or of unknown length) alone."""
    enough_tasks = num_clips / (_TASKS_PER_CPU * max(1.0, ray.cluster_resources().get("CPU", 1.0)))
    return max(1, int(min(TASK_S / mean_s if mean_s else math.inf, enough_tasks)))
