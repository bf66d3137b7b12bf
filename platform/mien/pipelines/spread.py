"""Any work over the actors of a Ray: what makes it is sent once, tasks as they are needed, results come in order."""

import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any, Literal

import ray
import ray.cloudpickle

from mien.config import Config
from mien.errors import MienError
from mien.log import logger
from mien.pipelines.cap import leave_no_core
from mien.pipelines.cluster import ClusterConfig, cause_of, is_local, session
from mien.pipelines.crew import in_order
from mien.pipelines.pools import PoolConfig, num_that_fit, require_room

_SAY_EVERY_S = 30.0

Work = Callable[[Any], Any]
"""From a task to its result. What a task is called in messages is its text."""


class SpreadWorkersConfig(Config):
    """Who computes, over Ray."""

    analyze: PoolConfig = PoolConfig()
    """Networks and figures, in actors that keep networks loaded, with a thread for each CPU. There are as many as fit
    when the work begins; `min_workers` asks a cluster that grows for more."""


class SpreadConfig(Config):
    """Where the work is done. Nothing that is written depends on it, so another choice goes on with an output.

    Files are the same to the byte with as many threads on such a processor; others round the last digits otherwise.
    """

    compute: Literal["auto", "here", "ray"] = "auto"
    """`here`: in this process, whose networks use all cores, but whose figures are drawn by one. `ray`: by the workers
    of a Ray. `auto`: by those of a cluster, where cluster.address or RAY_ADDRESS names one, and otherwise here."""
    workers: SpreadWorkersConfig = SpreadWorkersConfig()
    """Who computes, over Ray."""
    cluster: ClusterConfig = ClusterConfig()
    """Where Ray runs."""

    @property
    def is_over_ray(self) -> bool:
        """Whether other processes do it."""
        return self.compute == "ray" or (self.compute == "auto" and not is_local(self.cluster))


def over_ray(
    config: SpreadConfig, held: ExitStack, make: Callable[..., Work], arguments: Sequence[Any], tasks: Iterable[Any]
) -> Iterator[Any]:
    """Connect, unless that was done, and do the work of every task; Ray is not asked for where there is no task.

    Args:
        config: Which workers.
        held: Keeps the connection until it is closed: a local Ray takes seconds to start.
        make: Makes the work, once in each worker.
        arguments: What it is called with; each is sent to a machine once.
        tasks: Taken one at a time.

    Raises:
        PreflightError: Ray does not start, or a worker fits on no machine.
        MienError: What the work raised.
    """
    left = iter(tasks)
    first = next(left, None)
    if first is None:
        return
    held.enter_context(session(config.cluster))
    stage = "analyze", config.workers.analyze
    found = over_actors(make, arguments, chain([first], left), stage, config.cluster)
    held.callback(found.close)  # before the connection, whoever still holds it
    try:
        yield from found
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error


def over_actors(
    make: Callable[..., Work],
    arguments: Sequence[Any],
    tasks: Iterable[Any],
    stage: tuple[str, PoolConfig],
    cluster: ClusterConfig,
) -> Generator[Any, None, None]:
    """The same where a Ray is connected.

    Args:
        make: Makes the work, once in each worker.
        arguments: What it is called with; each is sent to a machine once.
        tasks: Taken one at a time.
        stage: Name in `workers`, and what each worker needs.
        cluster: Where they run.

    Raises:
        PreflightError: A worker fits on no machine.
        RayError: What the work raised, or that a worker cannot start.
        MienError: A task ended its workers again and again.
    """
    name, pool = stage
    require_room(cluster, name, pool)
    references, num_threads = [ray.put(argument) for argument in arguments], max(1, int(pool.num_cpus))
    actor = ray.remote(Worker).options(**pool.demands)

    def given_up(task: Any, num_deaths: int) -> Any:
        raise MienError(
            f"{task}: ended its worker {num_deaths} times (a crash, or too little memory); leave it out, or raise "
            f"workers.{name}.memory_gb"
        )

    said_at = time.monotonic()
    found = in_order(lambda: actor.remote(make, references, num_threads), num_that_fit(pool), tasks, given_up)
    for number, one in enumerate(found, start=1):
        yield ray.cloudpickle.loads(one)
        if time.monotonic() - said_at > _SAY_EVERY_S:
            said_at = time.monotonic()
            logger.info("%-8s %d done", name, number)


class Worker:
    """The work in an actor."""

    def __init__(self, make: Callable[..., Work], arguments: Sequence[Any], num_threads: int) -> None:
        """Load nothing yet: what goes wrong is told as the error of a task."""
        leave_no_core()
        self._make, self._arguments, self._num_threads = make, arguments, num_threads
        self._work: Work | None = None

    def do(self, task: Any) -> bytes:
        """Its result, pickled: an array in Ray's own memory could not be written to, and would fill it on the driver.

        With the first task all is loaded.
        """
        if self._work is None:
            _use_threads(self._num_threads)
            self._work = self._make(*ray.get([*self._arguments]))
        return bytes(ray.cloudpickle.dumps(self._work(task)))


def _use_threads(num: int) -> None:
    """Of torch, which is loaded by the work that needs it, or was before."""
    os.environ["OMP_NUM_THREADS"] = str(num)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(num)
